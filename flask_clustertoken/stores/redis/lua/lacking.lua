-- Which of these entries are not in the feed. ARGV: history, ids
-- Answers the highest number that was ever trimmed, and for each id 1 if it lacks.
local wrong = mistaken()
if wrong then return wrong end
local answer = {'ok', redis.call('HGET', ROOT, 'trimmed') or '0'}
for i = 2, #ARGV do
  answer[#answer + 1] = 1 - redis.call('HEXISTS', IDS, ARGV[i])
end
return answer
