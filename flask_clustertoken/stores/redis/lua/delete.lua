-- Delete a record; whether it lived. ARGV: history, now, key
local wrong = mistaken()
if wrong then return wrong end
local lived = lives(redis.call('HGET', RECORDS, ARGV[3]), tonumber(ARGV[2]))
drop_record(ARGV[3])
return {'ok', lived and 1 or 0}
