-- Remove a node's entry, if a version is named only that one. ARGV: history, node, version
local wrong = mistaken()
if wrong then return wrong end
local there = redis.call('HGET', NODES, ARGV[2])
if not there then return {'ok', 0} end
if ARGV[3] ~= '' and string.match(there, '^%d+') ~= ARGV[3] then return {'ok', 0} end
redis.call('HDEL', NODES, ARGV[2])
return {'ok', 1}
