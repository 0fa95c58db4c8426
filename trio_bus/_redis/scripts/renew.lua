-- KEYS stream. ARGV group, me, then id and attempt of each. Answers id and code of
-- those that are not renewed.
local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local refused = group_error(stream, group)
if refused then
  return refused
end
local over = {}
for at = 3, #ARGV, 2 do
  local id, attempt = ARGV[at], ARGV[at + 1]
  if not is_owned(stream, group, me, id, attempt) then
    over[#over + 1] = {id, lost_or_absent(stream, group, id)}
  elseif not move(stream, group, me, id, attempt) then
    over[#over + 1] = {id, GONE}
  end
end
return over
