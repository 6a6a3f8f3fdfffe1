-- Stands before every script: what the keys are called, and whether this is the history
-- that the caller knows. All keys of a realm have one hash tag.
local ROOT, FEED, IDS, ENDS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local RECORDS, NAMES, LIVES, NODES, DONE = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]

-- What the caller goes by: the history, and how many replicas have to be in touch.
local KNOWN, NEEDED = string.match(ARGV[1], '^(%S*) (%d+)$')

-- Seconds after which a replica that says nothing is not counted. It says something each second,
-- but on a busy machine it may be late; the proof is its acknowledgement, this only saves time.
-- (At the turn of a second the server, which goes by two clocks, says -1.)
local SILENCE = 10

-- The replication's id (another one after each start and each promotion), or what is wrong:
-- a replica, or a primary with too few replicas to be the one that counts.
local function replication()
  local info = redis.call('INFO', 'replication')
  if string.match(info, 'role:(%a+)') ~= 'master' then return nil, {'replica'} end
  local there = 0
  for lag in string.gmatch(info, 'state=online,[^\r\n]*lag=(%-?%d+)') do
    if tonumber(lag) <= SILENCE then there = there + 1 end
  end
  if there < tonumber(NEEDED) then return nil, {'lonely', tostring(there)} end
  return string.match(info, 'master_replid:(%w+)') or ''
end

local function history(id)
  return id .. '/' .. (redis.call('HGET', ROOT, 'epoch') or '')
end

-- What to answer where the caller is mistaken about whom it talks to.
local function mistaken()
  local id, wrong = replication()
  if wrong then return wrong end
  if history(id) ~= KNOWN then return {'history'} end
  return nil
end

local function number(name)
  return tonumber(redis.call('HGET', ROOT, name) or '0')
end

local function text(seq) return string.format('%.0f', seq) end

local function micros()
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000000 + tonumber(now[2])
end

-- A record is its end ("" where it has none), a line's end, and the value.
local function lives(packed, now)
  if not packed then return false end
  local ends = string.match(packed, '^([^\n]*)\n')
  return ends == '' or now < tonumber(ends)
end

-- Whether a record lives with this very value.
local function is(packed, now, value)
  return lives(packed, now) and string.sub(packed, string.find(packed, '\n', 1, true) + 1) == value
end

local function set_record(key, ends, value)
  redis.call('HSET', RECORDS, key, ends .. '\n' .. value)
  redis.call('ZADD', NAMES, 0, key)
  if ends == '' then redis.call('ZREM', LIVES, key) else redis.call('ZADD', LIVES, ends, key) end
end

local function drop_record(key)
  redis.call('HDEL', RECORDS, key)
  redis.call('ZREM', NAMES, key)
  redis.call('ZREM', LIVES, key)
end

-- An entry is "seq prev id end length", a line's end, what was deleted with it (of that
-- length, for whoever publishes it again), and the body.
local function pack_entry(seq, prev, id, ends, deleted, body)
  local head = {text(seq), text(prev), id, ends == '' and '-' or ends, #deleted}
  return table.concat(head, ' ') .. '\n' .. deleted .. body
end

local function unpack_entry(packed)
  local seq, prev, id, ends, rest =
    string.match(packed, '^(%d+) (%d+) (%S+) (%S+) (%d+\n.*)$')
  return tonumber(seq), tonumber(prev), id, ends, rest
end

local function put_entry(seq, prev, id, ends, deleted, body)
  redis.call('ZADD', FEED, text(seq), pack_entry(seq, prev, id, ends, deleted, body))
  redis.call('HSET', IDS, id, text(seq))
  if ends ~= '' then redis.call('ZADD', ENDS, ends, text(seq)) end
end

-- Append one entry behind the head; the number that it has got.
local function append_entry(at_least, id, ends, deleted, body)
  local head = number('head')
  local seq = math.max(head + 1, at_least)
  put_entry(seq, head, id, ends, deleted, body)
  redis.call('HSET', ROOT, 'head', text(seq))
  return seq
end

-- Whether the head is another one than entry id, number seq. (No id: any. It may be trimmed.)
local function head_moved(seq, id)
  if number('head') ~= seq then return true end
  local packed = id ~= '' and redis.call('ZRANGEBYSCORE', FEED, text(seq), text(seq))[1]
  if not packed then return false end
  local _, _, there = unpack_entry(packed)
  return there ~= id
end

-- A call to wake up, which may be lost or forbidden.
local function tell(channel)
  redis.pcall('PUBLISH', channel, '')
end

local function sealed()
  if redis.call('HGET', ROOT, 'state') ~= 'sealed' then return nil end
  return {'sealed', redis.call('HGET', ROOT, 'moved_to') or ''}
end
