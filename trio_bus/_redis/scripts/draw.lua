-- KEYS stream, active. ARGV group, me, token, count.
-- Answers id and fields of new entries, which wait for their key now, and the last id delivered to
-- this group; nothing if who asks is not active.
local stream, active, group, me, token = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local refused = group_error(stream, group)
if refused then
  return refused
end
if not is_active(active, me, token) then
  return false
end

local reply = redis.call(
  'XREADGROUP', 'GROUP', group, KEY, 'COUNT', ARGV[4], 'STREAMS', stream, '>')
local rows = reply and reply[1][2] or {}
for _, row in ipairs(rows) do
  redis.call('XCLAIM', stream, group, KEY, 0, row[1], 'RETRYCOUNT', 0, 'JUSTID')
end
return {rows, #rows > 0 and rows[#rows][1] or last_delivered(stream, group)}
