-- KEYS stream, notes and, where they lie in one, the dead-letter stream.
-- ARGV group, wake channel, then of each its id in the stream and in the dead-letter stream.
-- Answers for each a code, or the text of a refusal.
local stream, notes, dead_letters, group, channel = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]
local SOME = 10
local codes, done = {}, false

local function is_pending(id, ...)
  return #redis.call('XPENDING', stream, group, id, id, 1, ...) > 0
end

local function is_delivered(id)
  for _, about in ipairs(groups_of(stream)) do
    if about.name == group then
      return not is_before(about['last-delivered-id'], id)
    end
  end
end

-- Whether it is a dead letter of that entry, as it was buried.
local function ends_with_context(fields, id)
  local at = #fields - 2 * #CONTEXT
  for index, value in ipairs({stream, group, id}) do
    if fields[at + 2 * index - 1] ~= CONTEXT[index] or fields[at + 2 * index] ~= value then
      return false
    end
  end
  return true
end

-- Whether the original is what it was: ids repeat after a stream was deleted.
local function begins_with(fields, original)
  for at = 1, #original do
    if fields[at] ~= original[at] then
      return false
    end
  end
  return true
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

-- For this group alone; subscriptions of other groups know it by its last field.
local function append_copy(fields, letter)
  local added = redis.pcall('XADD', stream, '*', unpack(joined(fields, {ONLY, group})))
  if is_error(added) then
    return added.err
  end
  redis.call('XDEL', dead_letters, letter)
  return COPIED
end

-- The history is kept first: what may be refused comes before what cannot be.
local function give_back(id, context, letter)
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

local function from_topic(id, letter)
  local found = redis.call('XRANGE', dead_letters, letter, letter)[1]
  if not found then
    return LOST
  end
  local fields = found[2]
  if not ends_with_context(fields, id) then
    return GONE
  end
  local original = redis.call('XRANGE', stream, id, id)[1]
  if original and begins_with(fields, original[2]) then
    return give_back(id, {unpack(fields, #original[2] + 1)}, letter)
  end
  return append_copy(fields, letter)
end

-- Some of the notes are looked at each time, so that those of finished entries never pile up.
local function forget_finished()
  local some = redis.pcall('HRANDFIELD', notes, SOME)
  for _, id in ipairs(is_error(some) and {} or some) do
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
