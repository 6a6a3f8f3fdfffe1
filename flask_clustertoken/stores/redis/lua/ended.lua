-- Entries whose end lies before. ARGV: history, before, after, limit, how many to sort at most
-- Answers where the search got to ("": through), and the entries, in the order of the feed.
-- Few that ended are sorted; where they are many, the feed itself is walked, some at a time.
local wrong = mistaken()
if wrong then return wrong end
local before, after, limit = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local answer = {'ok', ''}
if redis.call('ZCOUNT', ENDS, '-inf', '(' .. ARGV[2]) <= tonumber(ARGV[5]) then
  local seqs = {}
  for _, seq in ipairs(redis.call('ZRANGEBYSCORE', ENDS, '-inf', '(' .. ARGV[2])) do
    if tonumber(seq) > after then seqs[#seqs + 1] = tonumber(seq) end
  end
  table.sort(seqs)
  for i = 1, math.min(limit, #seqs) do
    answer[#answer + 1] = redis.call('ZRANGEBYSCORE', FEED, text(seqs[i]), text(seqs[i]))[1]
  end
  return answer
end
local page = redis.call('ZRANGEBYSCORE', FEED, '(' .. ARGV[3], '+inf', 'LIMIT', 0, 2000)
for _, packed in ipairs(page) do
  local seq, ends = string.match(packed, '^(%d+) %d+ %S+ (%S+) ')
  answer[2] = seq
  if ends ~= '-' and tonumber(ends) < before then
    answer[#answer + 1] = packed
    if #answer - 2 == limit then return answer end
  end
end
if #page < 2000 then answer[2] = '' end
return answer
