-- KEYS stream. ARGV group, wake channel, id of a suspect, 1 to book it anew or 0 to give it up.
-- Answers 1, or 0 if it is not set apart any more.
local stream, group, channel, id = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local refused = group_error(stream, group)
if refused then
  return refused
end
local row = redis.call('XPENDING', stream, group, id, id, 1, SUSPECT)[1]
if not row then
  return 0
end
if #redis.call('XRANGE', stream, id, id) == 0 then
  return 1 -- whoever takes it tells that it is gone
end
if ARGV[4] == '1' then
  move(stream, group, SUSPECT, id, row[4])
else
  set_apart(stream, group, SUSPECT, id, row[4])
  wake(channel, 0, group)
end
return 1
