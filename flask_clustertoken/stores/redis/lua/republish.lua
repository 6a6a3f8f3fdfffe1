-- Put back entries that this history lacks, under the numbers that they had, each with the
-- deletions that belonged to it; then move head and floor on by one, so that whoever reads
-- the feed, wherever it stands, begins anew and meets them.
-- ARGV: history, channel, then for each, in order: seq, prev, id, end, what was deleted (as it
-- is kept), body, the number of deleted keys, those keys
local wrong = mistaken()
if wrong then return wrong end
local last, count, i = 0, 0, 3
local function free(seq)
  while #redis.call('ZRANGEBYSCORE', FEED, text(seq), text(seq), 'LIMIT', 0, 1) > 0 do
    seq = seq + 1
  end
  return seq
end
local function before(seq, asked)
  local found = redis.call('ZREVRANGEBYSCORE', FEED, '(' .. text(seq), '-inf', 'LIMIT', 0, 1)[1]
  local nearest = found and unpack_entry(found) or 0
  return (asked >= nearest and asked < seq) and asked or nearest
end
local function mend_next(seq)
  local found = redis.call('ZRANGEBYSCORE', FEED, '(' .. text(seq), '+inf', 'LIMIT', 0, 1)[1]
  if not found then return end
  local n, prev, id, ends, rest = unpack_entry(found)
  if prev >= seq then return end
  redis.call('ZREM', FEED, found)
  redis.call('ZADD', FEED, text(n), table.concat({text(n), text(seq), id, ends, rest}, ' '))
end
while i <= #ARGV do
  local seq, prev, id, ends = tonumber(ARGV[i]), tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3]
  local deleted, body, keys = ARGV[i + 4], ARGV[i + 5], tonumber(ARGV[i + 6])
  if redis.call('HEXISTS', IDS, id) == 0 then
    -- (Another entry may have the number: clocks that ran ahead. A later one covers more.)
    seq = free(seq)
    put_entry(seq, before(seq, prev), id, ends, deleted, body)
    mend_next(seq)
    for k = i + 7, i + 6 + keys do drop_record(ARGV[k]) end
    last, count = math.max(last, seq), count + 1
  end
  i = i + 7 + keys
end
if count > 0 then
  local head = math.max(number('head'), last) + 1
  redis.call('HSET', ROOT, 'head', text(head), 'floor', text(head))
  tell(ARGV[2])
end
return {'ok', text(count)}
