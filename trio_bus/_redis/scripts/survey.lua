-- KEYS stream. ARGV group, where to begin, how many to look at, after how many bytes to stop.
-- Answers id, fields (none of a deleted one), and 1 if a consumer has it, else 0, of what is pending
-- and not dead; and the id that it goes on after, or '' at the end.
local stream, group, start = KEYS[1], ARGV[1], ARGV[2]
local count, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local refused = group_error(stream, group)
if refused then
  return refused
end
local found, bytes = {}, 0
local rows = redis.call('XPENDING', stream, group, start, '+', count)
for index, row in ipairs(rows) do
  if row[2] ~= DEAD then
    local entry = redis.call('XRANGE', stream, row[1], row[1])[1]
    found[#found + 1] = {row[1], entry and entry[2] or {}, is_reserved(row[2]) and 0 or 1}
    for _, text in ipairs(entry and entry[2] or {}) do
      bytes = bytes + #text
    end
  end
  if bytes > most or index == count then
    return {found, row[1]}
  end
end
return {found, ''}
