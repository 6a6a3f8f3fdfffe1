-- A page of records in the order of their names. ARGV: history, from, to, limit
local wrong = mistaken()
if wrong then return wrong end
local names = redis.call('ZRANGEBYLEX', NAMES, ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
local answer, bytes = {'ok'}, 0
for _, name in ipairs(names) do
  local packed = redis.call('HGET', RECORDS, name)
  if packed then
    answer[#answer + 1] = name
    answer[#answer + 1] = packed
    bytes = bytes + #packed
    if bytes > 4000000 then break end
  end
end
return answer
