-- KEYS stream, active. ARGV group, me, wake channel. Answers 1, or 0 if he is not active.
local active, group, me, channel = KEYS[2], ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', active, 'owner') ~= me then
  return 0
end
redis.call('HSET', active, 'owner', '', 'until', '0')
wake(channel, 0, group)
return 1
