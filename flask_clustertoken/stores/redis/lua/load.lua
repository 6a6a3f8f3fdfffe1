-- Write what another store held, while this one is being prepared.
-- ARGV: history, now, head, floor, key that must hold ("": none), its value,
--       how many records, for each: key, end, value; then for each entry: seq, prev, id, end, body
local wrong = mistaken()
if wrong then return wrong end
if redis.call('HGET', ROOT, 'state') ~= 'preparing' then return {'not preparing'} end
if ARGV[5] ~= '' then
  local packed = redis.call('HGET', RECORDS, ARGV[5])
  if not is(packed, tonumber(ARGV[2]), ARGV[6]) then
    return {'conflict', ARGV[5]}
  end
end
local entries = 8 + 3 * tonumber(ARGV[7])
for i = 8, entries - 1, 3 do set_record(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
local head = math.max(number('head'), tonumber(ARGV[3]))
for i = entries, #ARGV, 5 do
  local seq = tonumber(ARGV[i])
  if #redis.call('ZRANGEBYSCORE', FEED, text(seq), text(seq), 'LIMIT', 0, 1) == 0 then
    put_entry(seq, tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3], '', ARGV[i + 4])
  end
  head = math.max(head, seq)
end
redis.call('HSET', ROOT, 'head', text(head),
  'floor', text(math.max(number('floor'), tonumber(ARGV[4]))))
return {'ok'}
