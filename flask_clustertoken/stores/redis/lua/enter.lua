-- Take notice of this server's history, and make the store where there is none.
-- ARGV: -, epoch of a new store ("": make none), its form
-- The first of all that meets a new history notes when.
local id, wrong = replication()
if wrong then return wrong end
if redis.call('HEXISTS', ROOT, 'epoch') == 0 then
  if ARGV[2] ~= '' then
    redis.call('HSET', ROOT, 'epoch', ARGV[2], 'state', 'open', 'moved_to', '',
      'format', ARGV[3], 'history', id, 'since', '0')
  end
elseif redis.call('HGET', ROOT, 'history') ~= id then
  redis.call('HSET', ROOT, 'history', id, 'since', text(micros()))
end
return {'ok', history(id), redis.call('HGET', ROOT, 'epoch') or ''}
