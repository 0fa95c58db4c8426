-- What every script shares. Above it stand the constants that scripts.py writes:
-- FREE, DUE, ABANDONED, SUSPECT, DEAD, KEY (consumers), DONE, LOST, GONE, ABSENT, UNFINISHED,
-- GROUP_MISSING, FINISHED, COPIED (answers), CONTEXT and ONLY (names),
-- MAX_FIELDS (names and values of an entry that can be passed to XADD from here), LAST_NUMBER (in
-- an id), NUMBER_DIGITS (of the number before each member of a schedule, and before each row).

-- Redis 6.2 keeps deleted entries pending when they are claimed; later servers drop them.
local KEEPS_DELETED = redis.REDIS_VERSION_NUM == nil

local function is_error(reply)
  return type(reply) == 'table' and reply.err ~= nil
end

local function code(reply)
  return string.match(reply.err, '^%-?(%u+)')
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- When something is due that waits for so many milliseconds: rounded up, so never too early.
local function due_after(delay)
  local time = redis.call('TIME')
  local round = delay > 0 and math.ceil or math.floor
  return time[1] * 1000 + round(time[2] / 1000) + delay
end

local function as_text(number)
  return string.format('%.0f', number)
end

-- Tell whoever listens that in so many milliseconds there is something to do in that group; in all
-- groups, if it is ''. Where this user may not publish there, nobody hears, and ticks find it.
local function wake(channel, delay, group)
  redis.pcall('PUBLISH', channel, as_text(delay) .. ' ' .. group)
end

-- An error unless the group exists: NOGROUP for a missing key too, or WRONGTYPE.
local function group_error(stream, group)
  local probe = redis.pcall('XPENDING', stream, group, '-', '+', 1)
  return is_error(probe) and probe or nil
end

-- Whether the entry is pending for that consumer, with exactly that count of deliveries.
local function is_owned(stream, group, me, id, attempt)
  local row = redis.call('XPENDING', stream, group, id, id, 1, me)[1]
  return row ~= nil and row[4] == tonumber(attempt)
end

-- Why an entry is not ours: somebody else has it or finished it, or it is nowhere any more.
local function lost_or_absent(stream, group, id)
  if #redis.call('XRANGE', stream, id, id) > 0 then
    return LOST
  end
  return #redis.call('XPENDING', stream, group, id, id, 1) > 0 and LOST or ABSENT
end

-- Give a pending entry to a consumer with that count, and start its idle time anew, unless other
-- options of XCLAIM follow. False if the entry was deleted from the stream; it is not pending then.
local function move(stream, group, consumer, id, attempt, ...)
  if KEEPS_DELETED and #redis.call('XRANGE', stream, id, id) == 0 then
    redis.call('XACK', stream, group, id)
    return false
  end
  local moved = redis.call(
    'XCLAIM', stream, group, consumer, 0, id, 'RETRYCOUNT', attempt, 'JUSTID', ...)
  return #moved == 1
end

-- Give a suspect to SUSPECT, where it waits to be started alone, or to DUE until then. It has been
-- idle for ever: that marks it in DUE; in SUSPECT, idle time tells how long ago it was booked.
local function set_apart(stream, group, consumer, id, attempt)
  return move(stream, group, consumer, id, attempt, 'TIME', 0)
end

-- Whether an entry of DUE is one: the row is that of XPENDING.
local function is_set_apart(row)
  return row[3] > now_ms() / 2
end

local function drop(stream, due, group, id)
  redis.call('XACK', stream, group, id)
  redis.call('ZREM', due, id)
end

-- The fields of one set of context, in their order.
local function context_of(stream, group, id, attempt, last_ms, cause, error_type, error_text)
  local values = {
    stream, group, id, as_text(attempt), string.match(id, '^%d+'), as_text(last_ms),
    cause, error_type, error_text}
  local context = {}
  for index, name in ipairs(CONTEXT) do
    context[#context + 1] = name
    context[#context + 1] = values[index]
  end
  return context
end

local function joined(fields, more)
  for _, text in ipairs(more) do
    fields[#fields + 1] = text
  end
  return fields
end

-- The hash `notes` keeps the context of what lies in DEAD, and of what was sent back from there or
-- from a dead-letter topic: its history, until it is finished.
local function noted(notes, id)
  local packed = redis.call('HGET', notes, id)
  return packed and cmsgpack.unpack(packed) or {}
end

-- DONE, GONE, or the error of a dead-letter topic that takes nothing: the entry stays then.
-- The body is added there before it is acked here, so that out of memory loses nothing.
local function bury(
  stream, due, notes, dead_letters, group, id, attempt, cause, error_type, error_text)
  local found = redis.call('XRANGE', stream, id, id)[1]
  if found == nil then
    drop(stream, due, group, id)
    redis.call('HDEL', notes, id)
    return GONE
  end
  local fields = found[2]
  local context = joined(noted(notes, id), context_of(
    stream, group, id, attempt, now_ms(), cause, error_type, error_text))
  if dead_letters == nil or #fields + #context > MAX_FIELDS + 2 * #CONTEXT then
    redis.pcall('HSET', notes, id, cmsgpack.pack(context)) -- out of memory, it is buried without
    move(stream, group, DEAD, id, attempt)
    redis.call('ZREM', due, id)
    return DONE
  end
  local added = redis.pcall('XADD', dead_letters, '*', unpack(joined(fields, context)))
  if is_error(added) then
    return added
  end
  drop(stream, due, group, id)
  redis.call('HDEL', notes, id)
  return DONE
end

-- Keep a private group for another expiry, in milliseconds; any other group has none: -1. A server
-- that is full may refuse it to who has written nothing before.
local function keep_private(private, group, expiry, now)
  if tonumber(expiry) >= 0 then
    redis.pcall('ZADD', private, as_text(now + tonumber(expiry)), group)
  end
end

-- What XINFO answers about each, as tables.
local function as_tables(rows)
  local tables = {}
  for index, flat in ipairs(rows) do
    local found = {}
    for at = 1, #flat, 2 do
      found[flat[at]] = flat[at + 1]
    end
    tables[index] = found
  end
  return tables
end

-- The consumers of a group: a list of tables with name, pending and idle (milliseconds).
local function consumers_of(stream, group)
  return as_tables(redis.call('XINFO', 'CONSUMERS', stream, group))
end

-- The groups of a stream: tables with name, pending, last-delivered-id and more.
local function groups_of(stream)
  return as_tables(redis.call('XINFO', 'GROUPS', stream))
end

-- The id up to which everything has been delivered to a group; nil if there is no such group.
local function last_delivered(stream, name)
  for _, group in ipairs(groups_of(stream)) do
    if group.name == name then
      return group['last-delivered-id']
    end
  end
end

-- Ids as numbers would lose digits.
local function is_before(one, other)
  local ms, seq = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_seq = string.match(other, '^(%d+)-(%d+)$')
  if ms == other_ms then
    ms, other_ms = seq, other_seq
  end
  if #ms ~= #other_ms then
    return #ms < #other_ms
  end
  return ms < other_ms
end

-- Numbers keep what is due together in the order in which it was scheduled; while nothing is
-- scheduled they can begin anew.
local function next_number(scheduled)
  return string.format('%0' .. NUMBER_DIGITS .. '.0f', redis.call('HINCRBY', scheduled, '', 1))
end

local function forget_numbers(schedule, scheduled)
  if redis.call('ZCARD', schedule) == 0 then
    redis.call('HDEL', scheduled, '')
  end
end

-- Whether that consumer is the active one of its group, with the newest token.
local function is_active(active, consumer, token)
  return redis.call('HGET', active, 'owner') == consumer
    and redis.call('HGET', active, 'token') == token
end

local function is_reserved(consumer)
  return string.sub(consumer, 1, 1) == '~'
end

-- The answer LOST for each of many.
local function all_lost(many)
  local codes = {}
  for index = 1, many do
    codes[index] = LOST
  end
  return codes
end
