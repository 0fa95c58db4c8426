-- KEYS stream, due, schedule, scheduled. ARGV group, me, lease in milliseconds, how many due rows
-- to look at, how many scheduled messages to append at most, and after how many bytes to stop.
-- Answers whether take_over would find something (1 or 0), in how many milliseconds something is
-- due (-1 for nothing), and why a scheduled message was not appended ('' if nothing was refused).
local stream, due, schedule, scheduled = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, me = ARGV[1], ARGV[2]
local refused = group_error(stream, group)
if refused then
  return refused
end
local now, refusal, stuck = now_ms(), '', false

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
    'ZRANGEBYSCORE', schedule, '-inf', as_text(now), 'LIMIT', 0, ARGV[5])
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
    if bytes > tonumber(ARGV[6]) then
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
  if waiting < 0 or message < 0 then
    return math.max(waiting, message)
  end
  return math.min(waiting, message)
end

local function holds_claimable(name)
  if name == DUE or name == FREE then
    return true
  end
  if name ~= SUSPECT and (name == me or is_reserved(name)) then
    return false
  end
  return #redis.call('XPENDING', stream, group, 'IDLE', ARGV[3], '-', '+', 1, name) > 0
end

local function is_claimable()
  local rows = redis.call('ZRANGEBYSCORE', due, '-inf', as_text(now), 'LIMIT', 0, ARGV[4])
  for _, id in ipairs(rows) do
    if #redis.call('XPENDING', stream, group, id, id, 1, DUE) > 0 then
      return true
    end
  end
  for _, consumer in ipairs(consumers_of(stream, group)) do
    local held = consumer.pending
    if consumer.name == DUE then
      held = held - redis.call('ZCARD', due) -- an entry without a row is due
    end
    if held > 0 and holds_claimable(consumer.name) then
      return true
    end
  end
  return false
end

append_due()
return {is_claimable() and 1 or 0, next_due(), refusal}
