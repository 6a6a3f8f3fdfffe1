-- The transaction: conditions, changes, entries and head in one step, or nothing.
-- ARGV: history, now, number at least, channel, the transaction's id, how many changes, then for
--       each: what, key, end, value; then for each entry: id, end, what was deleted, body
local wrong = mistaken() or sealed()
if wrong then return wrong end
local now, at_least, channel = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
-- Microseconds for which a transaction without entries is known again.
local NOTED = 300000000
local first = 7 + 4 * tonumber(ARGV[6])
-- (A write in any case: WAIT asks for what this connection wrote last.)
redis.call('HSET', ROOT, 'asked', '')
if ARGV[first] and redis.call('HEXISTS', IDS, ARGV[first]) == 1 then
  local known = {'ok'}
  for i = first, #ARGV, 4 do
    known[#known + 1] = redis.call('HGET', IDS, ARGV[i]) or '0'
  end
  return known
end
-- (Without an entry, whose id would tell, it is noted for longer than any call lasts.)
local made = not ARGV[first] and micros()
if made and redis.call('ZSCORE', DONE, ARGV[5]) then return {'ok'} end
for i = 7, first - 1, 4 do
  -- (The feed's head is still this one. Told before all other conditions.)
  if ARGV[i] == 'head' and head_moved(tonumber(ARGV[i + 1]), ARGV[i + 2]) then
    return {'moved', ARGV[i + 1]}
  end
end
for i = 7, first - 1, 4 do
  local what, key = ARGV[i], ARGV[i + 1]
  if what == 'add' or what == 'require' then
    local alive = lives(redis.call('HGET', RECORDS, key), now)
    if alive == (what == 'add') then return {'conflict', key} end
  elseif what == 'unchanged' then
    local packed = redis.call('HGET', RECORDS, key)
    if not is(packed, now, ARGV[i + 3]) then return {'conflict', key} end
  end
end
for i = 7, first - 1, 4 do
  local what, key = ARGV[i], ARGV[i + 1]
  if what == 'add' or what == 'put' then
    set_record(key, ARGV[i + 2], ARGV[i + 3])
  elseif what == 'delete' then
    drop_record(key)
  end
end
if made then
  redis.call('ZADD', DONE, text(made), ARGV[5])
  redis.call('ZREMRANGEBYSCORE', DONE, '-inf', '(' .. text(made - NOTED))
end
local answer = {'ok'}
for i = first, #ARGV, 4 do
  answer[#answer + 1] =
    text(append_entry(at_least, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]))
end
if #answer > 1 then tell(channel) end
return answer
