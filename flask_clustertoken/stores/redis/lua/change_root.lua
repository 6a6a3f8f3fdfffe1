-- Replace the root if it is the one that the caller knows, with an entry in the same step.
-- ARGV: history, old epoch, state, moved_to, format, new ones, channel, number at least,
--       and where there is an entry: id, end, body
local wrong = mistaken()
if wrong then return wrong end
local root = redis.call('HMGET', ROOT, 'epoch', 'state', 'moved_to', 'format')
for i = 1, 4 do
  if root[i] ~= ARGV[1 + i] then return {'ok', 0} end
end
redis.call('HSET', ROOT, 'epoch', ARGV[6], 'state', ARGV[7], 'moved_to', ARGV[8],
  'format', ARGV[9])
if ARGV[12] then
  append_entry(tonumber(ARGV[11]), ARGV[12], ARGV[13], '', ARGV[14])
end
tell(ARGV[10])
return {'ok', 1}
