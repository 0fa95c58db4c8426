-- KEYS stream. ARGV group, me. Answers 0 if we own entries: removing us would destroy them.
local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local refused = group_error(stream, group)
if refused then
  return code(refused) == 'NOGROUP' and 1 or refused
end
if #redis.call('XPENDING', stream, group, '-', '+', 1, me) > 0 then
  return 0
end
redis.call('XGROUP', 'DELCONSUMER', stream, group, me)
return 1
