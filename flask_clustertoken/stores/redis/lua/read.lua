-- A page of the feed. ARGV: history, after, limit
-- Answers head, floor, whether more follows, and the entries as they are kept.
local wrong = mistaken()
if wrong then return wrong end
-- (With replicas, each look is acknowledged: who talks to an old primary notices within seconds.)
if NEEDED ~= '0' then redis.call('HSET', ROOT, 'asked', '') end
local limit, from, bytes = tonumber(ARGV[3]), ARGV[2], 0
local answer = {'ok', redis.call('HGET', ROOT, 'head') or '0',
  redis.call('HGET', ROOT, 'floor') or '0', 0}
while true do
  local page = redis.call('ZRANGEBYSCORE', FEED, '(' .. from, '+inf', 'LIMIT', 0, 100)
  for _, packed in ipairs(page) do
    if #answer - 4 == limit or bytes > 1000000 then
      answer[4] = 1
      return answer
    end
    answer[#answer + 1] = packed
    bytes = bytes + #packed
    from = string.match(packed, '^%d+')
  end
  if #page < 100 then return answer end
end
