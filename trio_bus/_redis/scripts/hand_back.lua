-- KEYS stream, due. ARGV group, me, wake channel, then id, attempt, new count and delay of each:
-- milliseconds, or -1 for an entry that is free at once, or -2 for a suspect.
-- Answers a code for each.
local stream, due, group, me, channel = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local refused = group_error(stream, group)
if refused then
  return code(refused) == 'NOGROUP' and all_lost((#ARGV - 3) / 4) or refused
end
local now, soonest = now_ms(), nil

local function put_back(id, count, delay)
  if delay == -2 then
    return set_apart(stream, group, id, count)
  end
  return move(stream, group, delay < 0 and FREE or DUE, id, count)
end

local function hand_back(id, attempt, count, delay)
  if not is_owned(stream, group, me, id, attempt) then
    return LOST
  end
  if not put_back(id, count, delay) then
    redis.call('ZREM', due, id)
    return GONE
  end
  local at = due_after(delay)
  if delay >= 0 then
    redis.call('ZADD', due, as_text(at), id)
  end
  soonest = math.min(soonest or math.huge, at)
  return DONE
end

local codes = {}
for at = 4, #ARGV, 4 do
  codes[#codes + 1] = hand_back(ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]))
end
if soonest then
  wake(channel, math.max(0, soonest - now), group)
end
return codes
