-- KEYS schedule, scheduled and, where a message may be scheduled only once, the marker of that.
-- ARGV wake channel, uid, delay in milliseconds or -1, else the instant in milliseconds, fields
-- (length, colon, bytes of each), for how many milliseconds the marker stays.
-- Answers the uid that is scheduled.
local schedule, scheduled, marker = KEYS[1], KEYS[2], KEYS[3]
local channel, uid, delay, at, fields = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local earlier = marker and redis.call('GET', marker)
if earlier then
  return earlier
end
if redis.call('HEXISTS', scheduled, uid) == 1 then
  return uid
end
local number = next_number(scheduled)
local due = delay < 0 and tonumber(at) or due_after(delay)
redis.call('HSET', scheduled, uid, number .. fields)
local refused = redis.pcall('ZADD', schedule, as_text(due), number .. uid)
if marker and not is_error(refused) then
  refused = redis.pcall('SET', marker, uid, 'PX', ARGV[6])
end
if is_error(refused) then -- this user may not do the one or the other: take it all back
  redis.call('HDEL', scheduled, uid)
  redis.pcall('ZREM', schedule, number .. uid)
  return refused
end
wake(channel, math.max(0, due - now_ms()), '')
return uid
