-- KEYS stream, private groups. ARGV group, me, expiry in milliseconds of a private group (-1 for any
-- other), then id and attempt of each. Answers id and code of
-- those that are not renewed.
local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local refused = group_error(stream, group)
if refused then
  return refused
end
local over = {}
for at = 4, #ARGV, 2 do
  local id, attempt = ARGV[at], ARGV[at + 1]
  if not is_owned(stream, group, me, id, attempt) then
    over[#over + 1] = {id, lost_or_absent(stream, group, id)}
  elseif not move(stream, group, me, id, attempt) then
    over[#over + 1] = {id, GONE}
  end
end
keep_private(KEYS[2], group, ARGV[3], now_ms()) -- after what is never refused: see look.lua
return over
