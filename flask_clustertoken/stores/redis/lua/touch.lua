-- Prolong a record that lives. ARGV: history, now, key, end
local wrong = mistaken() or sealed()
if wrong then return wrong end
local packed = redis.call('HGET', RECORDS, ARGV[3])
if not lives(packed, tonumber(ARGV[2])) then return {'ok', 0} end
local ends, value = string.match(packed, '^([^\n]*)\n(.*)$')
if ends ~= '' and (ARGV[4] == '' or tonumber(ARGV[4]) > tonumber(ends)) then
  set_record(ARGV[3], ARGV[4], value)
end
return {'ok', 1}
