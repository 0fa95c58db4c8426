-- KEYS stream. ARGV group, me, then id and attempt of each. Answers a code for each.
local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local refused = group_error(stream, group)
if refused then
  return code(refused) == 'NOGROUP' and all_lost((#ARGV - 2) / 2) or refused
end
local codes = {}
for at = 3, #ARGV, 2 do
  local id = ARGV[at]
  if is_owned(stream, group, me, id, ARGV[at + 1]) then
    redis.call('XACK', stream, group, id)
    codes[#codes + 1] = DONE
  else
    codes[#codes + 1] = lost_or_absent(stream, group, id)
  end
end
return codes
