-- KEYS stream, due. ARGV group, me, wake channel, then id, attempt, new count, delay (milliseconds,
-- or -1 for none), and whether it stays a suspect (1 or 0) of each. Answers a code for each.
local stream, due, group, me, channel = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local refused = group_error(stream, group)
if refused then
  return code(refused) == 'NOGROUP' and all_lost((#ARGV - 3) / 5) or refused
end
local now, soonest = now_ms(), nil

local function put_back(id, count, delay, suspect)
  if suspect == '1' then
    return set_apart(stream, group, delay < 0 and SUSPECT or DUE, id, count)
  end
  return move(stream, group, delay < 0 and FREE or DUE, id, count)
end

local function hand_back(id, attempt, count, delay, suspect)
  if not is_owned(stream, group, me, id, attempt) then
    return lost_or_absent(stream, group, id)
  end
  if not put_back(id, count, delay, suspect) then
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
for at = 4, #ARGV, 5 do
  local id, attempt, count, delay, suspect = unpack(ARGV, at, at + 4)
  codes[#codes + 1] = hand_back(id, attempt, count, tonumber(delay), suspect)
end
if soonest then
  wake(channel, math.max(0, soonest - now), group)
end
return codes
