-- Delete records whose life ended before. ARGV: history, before, limit
local wrong = mistaken()
if wrong then return wrong end
local names = redis.call('ZRANGEBYSCORE', LIVES, '-inf', '(' .. ARGV[2], 'LIMIT', 0, ARGV[3])
for _, name in ipairs(names) do drop_record(name) end
return {'ok', #names}
