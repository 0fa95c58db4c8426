-- KEYS stream, due, notes and, where there is one, the dead-letter stream.
-- ARGV group, me, id, attempt, cause, error type, error text. Answers one code, in a list.
local stream, due, notes, dead_letters = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, me, id, attempt = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local refused = group_error(stream, group)
if refused then
  return code(refused) == 'NOGROUP' and all_lost(1) or refused
end
if not is_owned(stream, group, me, id, attempt) then
  return {lost_or_absent(stream, group, id)}
end
local answer = bury(
  stream, due, notes, dead_letters, group, id, tonumber(attempt), ARGV[5], ARGV[6], ARGV[7])
return is_error(answer) and answer or {answer}
