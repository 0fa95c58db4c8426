-- KEYS stream, and what is to be forgotten: due, tending, active, notes. ARGV group, start.
-- Answers 1 if the group is new, 0 if it was there.
local created = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[2], 'MKSTREAM')
if is_error(created) then
  return code(created) == 'BUSYGROUP' and 0 or created
end
-- Ids repeat after the stream was deleted: what is known of an earlier life says nothing.
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
return 1
