-- KEYS stream, active. ARGV group, me, wake channel. Answers 1, or 0 if he is not active.
local stream, active, group, me, channel = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local refused = group_error(stream, group)
if refused then
  return refused
end
if redis.call('HGET', active, 'owner') ~= me then
  return 0
end
redis.call('HSET', active, 'owner', '', 'until', '0')
wake(channel, 0, group)
return 1
