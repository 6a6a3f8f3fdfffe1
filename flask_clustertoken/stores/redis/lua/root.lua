-- What is said once about the store. ARGV: history
local wrong = mistaken()
if wrong then return wrong end
local root = redis.call('HMGET', ROOT, 'epoch', 'state', 'moved_to', 'format')
return {'ok', root[1], root[2], root[3], root[4]}
