-- Rewrite a node's entry, which must be there, and read the head behind that.
-- ARGV: history, node, what it says, microseconds that a new history is not vouched for
-- (the time in which whoever knows more than it can publish that again)
local wrong = mistaken()
if wrong then return wrong end
if redis.call('HEXISTS', NODES, ARGV[2]) == 0 then return {'absent'} end
local now = micros()
local version = math.max(number('version') + 1, now)
redis.call('HSET', ROOT, 'version', text(version))
redis.call('HSET', NODES, ARGV[2], text(version) .. ' ' .. text(now) .. '\n' .. ARGV[3])
local since = number('since')
if since > now then
  -- (The server's clock was set back: the wait begins again, and is no longer than it was.)
  since = now
  redis.call('HSET', ROOT, 'since', text(since))
end
local left = since + tonumber(ARGV[4]) - now
if since > 0 and left > 0 then return {'settling', text(left)} end
return {'ok', redis.call('HGET', ROOT, 'head') or '0', text(now)}
