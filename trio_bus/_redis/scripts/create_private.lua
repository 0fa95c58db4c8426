-- KEYS stream, private groups, and what is to be forgotten: due, tending, notes. ARGV group, start,
-- expiry in milliseconds. Answers after which entry the group begins, or nothing if it was there.
local stream, private, group, start = KEYS[1], KEYS[2], ARGV[1], ARGV[2]

local created = redis.pcall('XGROUP', 'CREATE', stream, group, '$', 'MKSTREAM')
if is_error(created) then
  return code(created) == 'BUSYGROUP' and '' or created
end
local last = last_delivered(stream, group)
local begin = start == '$' and last or start
if is_before(last, begin) then
  begin = '0-0' -- it was another stream
end
if begin ~= last then
  redis.call('XGROUP', 'DESTROY', stream, group)
  redis.call('XGROUP', 'CREATE', stream, group, begin)
end
redis.call('DEL', KEYS[3], KEYS[4], KEYS[5])
redis.call('ZADD', private, as_text(now_ms() + tonumber(ARGV[3])), group)
return begin
