-- KEYS schedule, scheduled and, where there may be one, the marker of a message that is scheduled
-- only once. ARGV uid. Answers 1 if it was in the schedule, which it is not any more.
local schedule, scheduled, marker, uid = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local row = redis.call('HGET', scheduled, uid)
if not row then
  return 0
end
redis.call('ZREM', schedule, string.sub(row, 1, NUMBER_DIGITS) .. uid)
redis.call('HDEL', scheduled, uid)
if marker and redis.call('GET', marker) == uid then
  redis.call('DEL', marker) -- it may be scheduled again
end
forget_numbers(schedule, scheduled)
return 1
