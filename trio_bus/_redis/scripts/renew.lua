-- KEYS stream. ARGV group, me, then id and attempt of each. Answers the ids that are not ours.
local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local refused = group_error(stream, group)
if refused then
  return refused
end
local lost = {}
for at = 3, #ARGV, 2 do
  local id, attempt = ARGV[at], ARGV[at + 1]
  if is_owned(stream, group, me, id, attempt) then
    move(stream, group, me, id, attempt)
  else
    lost[#lost + 1] = id
  end
end
return lost
