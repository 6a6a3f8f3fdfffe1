-- Every node's entry. ARGV: history
local wrong = mistaken()
if wrong then return wrong end
redis.call('HSET', ROOT, 'asked', '')
local answer = {'ok'}
for _, one in ipairs(redis.call('HGETALL', NODES)) do answer[#answer + 1] = one end
return answer
