-- KEYS stream, notes and, where they lie in one, the dead-letter stream.
-- ARGV group, wake channel, then of each its id in the stream and in the dead-letter stream.
-- Answers for each a code, or the text of a refusal.
local stream, notes, dead_letters, group, channel = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]
local SOME = 10
local codes, done = {}, false

local function is_pending(id, ...)
  return #redis.call('XPENDING', stream, group, id, id, 1, ...) > 0
end

-- Ids as numbers would lose digits.
local function is_less(one, other)
  return #one < #other or #one == #other and one < other
end

local function is_delivered(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local about = {}
    for at = 1, #flat, 2 do
      about[flat[at]] = flat[at + 1]
    end
    if about.name == group then
      local last_ms, last_seq = string.match(about['last-delivered-id'], '^(%d+)-(%d+)$')
      return is_less(ms, last_ms) or ms == last_ms and not is_less(last_seq, seq)
    end
  end
end

-- What stands behind the fields of the original; nil if this is no dead letter of it: ids repeat
-- after a stream was deleted.
local function context_behind(fields, original)
  for at = 1, #original do
    if fields[at] ~= original[at] then
      return nil
    end
  end
  return fields[#original + 1] == CONTEXT[1] and {unpack(fields, #original + 1)} or nil
end

local function from_group(id)
  if not is_pending(id, DEAD) then
    return LOST
  end
  if not move(stream, group, FREE, id, 0) then
    redis.call('HDEL', notes, id)
    return GONE
  end
  return DONE
end

-- The history is kept first: what may be refused comes before what cannot be.
local function from_topic(id, letter)
  local found = redis.call('XRANGE', dead_letters, letter, letter)[1]
  if not found then
    return LOST
  end
  local original = redis.call('XRANGE', stream, id, id)[1]
  local context = original and context_behind(found[2], original[2])
  if not context then
    return GONE
  end
  if is_pending(id) or not is_delivered(id) then
    return UNFINISHED
  end
  local kept = redis.pcall('HSET', notes, id, cmsgpack.pack(context))
  if is_error(kept) then
    return kept.err
  end
  redis.call('XCLAIM', stream, group, FREE, 0, id, 'RETRYCOUNT', 0, 'FORCE', 'JUSTID')
  redis.call('XDEL', dead_letters, letter)
  return DONE
end

-- Some of the notes are looked at each time, so that those of finished entries never pile up.
local function forget_finished()
  local some = redis.pcall('HRANDFIELD', notes, SOME)
  if is_error(some) then
    return -- this user may not: they pile up, and all else is done
  end
  for _, id in ipairs(some) do
    if not is_pending(id) then
      redis.call('HDEL', notes, id)
    end
  end
end

local refused = group_error(stream, group)
if refused and code(refused) ~= 'NOGROUP' then
  return refused
end
for at = 3, #ARGV, 2 do
  local id, letter = ARGV[at], ARGV[at + 1]
  local answer = GROUP_MISSING
  if not refused then
    answer = dead_letters and from_topic(id, letter) or not dead_letters and from_group(id)
  end
  done = done or answer == DONE
  codes[#codes + 1] = answer
end
if not refused then
  forget_finished()
end
if done then
  wake(channel, 0, group)
end
return codes
