-- KEYS stream, due, schedule, scheduled, tending, active, private groups and, with a retention,
-- retained. ARGV group, me, wake channel; in milliseconds the lease, how long the group is left alone between
-- two that tend it, and how long a consumer without entries may be idle; how many due rows to look
-- at, how many scheduled messages to append at most, after how many bytes to stop, and the expiry
-- of a private group (-1 for any other); of a retention the greatest age, in milliseconds, and
-- length ('' where there is none), 1 for what is finished alone, and for how long a topic is left
-- alone. Answers whether take_over would find something (1 or 0), in how many milliseconds
-- something is due (-1 for nothing), in how many at the earliest there is something that nobody is
-- told of, why a scheduled message was not appended ('' if nothing was
-- refused), the ids of abandoned entries that had been deleted, private groups whose expiry is
-- over, and how many entries were removed.
local stream, due, schedule, scheduled, tending = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local group, me, channel = ARGV[1], ARGV[2], ARGV[3]
local DUE_ROWS, MESSAGES, BYTES = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local PRIVATE = 10 -- how many private groups one look removes
local NO_ENTRY = '18446744073709551615-18446744073709551614' -- nothing can be pending behind it
local refused = group_error(stream, group)
if refused then
  return refused
end
local now, refusal, stuck, more = now_ms(), '', false, false

-- The fields of a row, which stand behind its number as length, colon, bytes; nil if it has none.
local function fields_of(row)
  local fields, at = {}, NUMBER_DIGITS + 1
  while at <= #row do
    local colon = string.find(row, ':', at, true)
    local digits = colon and string.match(string.sub(row, at, colon - 1), '^%d+$')
    local last = digits and colon + tonumber(digits)
    if not last or last > #row then
      return nil
    end
    fields[#fields + 1] = string.sub(row, colon + 1, last)
    at = last + 1
  end
  local is_record = #fields > 0 and #fields % 2 == 0 and #fields <= MAX_FIELDS
  return is_record and fields or nil
end

-- Append one message of the schedule; false if the stream does not take it: it stays then.
local function append(member, uid, row)
  local fields = fields_of(row)
  if fields == nil then
    refusal = 'ERR scheduled message ' .. uid .. ' is unreadable and was set aside'
    redis.call('ZREM', schedule, member)
    return true
  end
  local added = redis.pcall('XADD', stream, '*', unpack(fields))
  if is_error(added) then
    refusal = added.err
    return false
  end
  redis.call('ZREM', schedule, member)
  redis.call('HDEL', scheduled, uid)
  return true
end

local function append_due()
  local bytes = 0
  local members = redis.call(
    'ZRANGEBYSCORE', schedule, '-inf', as_text(now), 'LIMIT', 0, MESSAGES)
  for _, member in ipairs(members) do
    local uid = string.sub(member, NUMBER_DIGITS + 1)
    local row = redis.call('HGET', scheduled, uid)
    if not row then
      redis.call('ZREM', schedule, member) -- its body is lost
    elseif not append(member, uid, row) then
      stuck = true
      return
    end
    bytes = bytes + (row and #row or 0)
    if bytes > BYTES then
      break
    end
  end
  forget_numbers(schedule, scheduled)
end

-- Milliseconds until the first member of a sorted set that is due from then on; -1 if none is.
local function due_in(key, from)
  local first = redis.call('ZRANGEBYSCORE', key, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return first[2] and math.max(0, tonumber(first[2]) - now) or -1
end

-- What is refused is tried again by the next tick, not in a hot loop.
local function next_due()
  local waiting = due_in(due, '(' .. as_text(now))
  local message = due_in(schedule, stuck and '(' .. as_text(now) or '-inf')
  if more then
    return 0
  elseif waiting < 0 or message < 0 then
    return math.max(waiting, message)
  end
  return math.min(waiting, message)
end

local function holds_something(consumer)
  return #redis.call('XPENDING', stream, group, '-', '+', 1, consumer) > 0
end

local has_suspects = holds_something(SUSPECT) -- never calm: what is booked is so for a lease alone

-- Those that are booked are few: one for each member.
local function holds_bookable()
  return #redis.call('XPENDING', stream, group, 'IDLE', ARGV[4], '-', '+', 1, SUSPECT) > 0
end

-- Rows that speak of no waiting entry are forgotten, so that they hide nothing.
local function is_claimable()
  local ids = redis.call('ZRANGEBYSCORE', due, '-inf', as_text(now), 'LIMIT', 0, DUE_ROWS)
  for _, id in ipairs(ids) do
    if #redis.call('XPENDING', stream, group, id, id, 1, DUE) > 0 then
      return true
    end
    redis.call('ZREM', due, id)
  end
  more = more or #ids == DUE_ROWS
  return holds_something(FREE) or holds_something(ABANDONED) or has_suspects and holds_bookable()
end

-- Milliseconds until there can be something that no wake-up tells of: somebody's lease has ended, or
-- that on the order or of a private group, or it is time to remove something.
local function quiet_for(ends)
  ends = math.min(ends, tonumber(redis.call('HGET', KEYS[6], 'until') or ends))
  local private = redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  ends = math.min(ends, tonumber(private[2] or ends))
  if KEYS[8] then
    ends = math.min(ends, now + redis.call('PTTL', KEYS[8]))
  end
  return math.max(0, ends - now)
end

append_due()
-- Says that we are alive, whatever our read waits for: our consumer is not idle. (What is read
-- costs nothing. And who has written before is not refused when the server is full: so this comes
-- after what has to be refused then.)
redis.call('XREADGROUP', 'GROUP', group, me, 'COUNT', 1, 'STREAMS', stream, NO_ENTRY)
keep_private(KEYS[7], group, ARGV[10], now)
local removed, too_many = 0, false
if KEYS[8] then -- what is refused is refused before anything was found that has to be told
  removed, too_many = retain(
    stream, KEYS[8], now, ARGV[11], ARGV[12], ARGV[13] == '1', tonumber(ARGV[14]))
end
local moved, gone, unfinished, ends = tend(
  stream, due, tending, KEYS[6], group, me, now, tonumber(ARGV[4]), tonumber(ARGV[5]),
  tonumber(ARGV[6]))
if moved then
  wake(channel, 0, group)
end
more = more or unfinished or too_many
local expired = redis.call(
  'ZRANGEBYSCORE', KEYS[7], '-inf', as_text(now), 'LIMIT', 0, PRIVATE)
local claimable = is_claimable()
local is_calm = not (claimable or stuck or has_suspects)
return {
  claimable and 1 or 0, next_due(), is_calm and quiet_for(ends) or 0, refusal, gone, expired, removed}
