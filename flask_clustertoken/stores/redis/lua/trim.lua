-- Delete entries by number. ARGV: history, numbers
local wrong = mistaken()
if wrong then return wrong end
local floor, trimmed = number('floor'), number('trimmed')
for i = 2, #ARGV do
  for _, packed in ipairs(redis.call('ZRANGEBYSCORE', FEED, ARGV[i], ARGV[i])) do
    local seq, _, id = unpack_entry(packed)
    redis.call('ZREM', FEED, packed)
    redis.call('HDEL', IDS, id)
    redis.call('ZREM', ENDS, text(seq))
    floor, trimmed = math.max(floor, seq), math.max(trimmed, seq)
  end
end
redis.call('HSET', ROOT, 'floor', text(floor), 'trimmed', text(trimmed))
return {'ok'}
