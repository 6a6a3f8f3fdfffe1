-- Records as they are kept. ARGV: history, keys
local wrong = mistaken()
if wrong then return wrong end
return {'ok', unpack(redis.call('HMGET', RECORDS, unpack(ARGV, 2)))}
