-- Write a node's entry, which need not be there. ARGV: history, node, what it says
local wrong = mistaken()
if wrong then return wrong end
local now = micros()
-- (By the clock too: no version comes again where a fail-over lost the last ones.)
local version = math.max(number('version') + 1, now)
redis.call('HSET', ROOT, 'version', text(version))
redis.call('HSET', NODES, ARGV[2], text(version) .. ' ' .. text(now) .. '\n' .. ARGV[3])
return {'ok'}
