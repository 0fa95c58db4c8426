-- KEYS stream, private groups, and what is to be forgotten: due, tending, notes. ARGV group, start,
-- expiry in milliseconds. Answers after which entry the group begins, or nothing if it was there.
local stream, private, group, start = KEYS[1], KEYS[2], ARGV[1], ARGV[2]

-- Whether one id comes after another: numbers of Lua are too short for them.
local function is_after(one, other)
  local ms, seq = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_seq = string.match(other, '^(%d+)-(%d+)$')
  local function compare(left, right)
    if #left ~= #right then
      return #left > #right and 1 or -1
    end
    return left == right and 0 or left > right and 1 or -1
  end
  local by_ms = compare(ms, other_ms)
  return by_ms > 0 or by_ms == 0 and compare(seq, other_seq) > 0
end

local created = redis.pcall('XGROUP', 'CREATE', stream, group, '$', 'MKSTREAM')
if is_error(created) then
  return code(created) == 'BUSYGROUP' and '' or created
end
local last
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local row = {}
  for at = 1, #flat, 2 do
    row[flat[at]] = flat[at + 1]
  end
  if row.name == group then
    last = row['last-delivered-id']
  end
end
local begin = start == '$' and last or start
if is_after(begin, last) then
  begin = '0-0' -- it was another stream
end
if begin ~= last then
  redis.call('XGROUP', 'DESTROY', stream, group)
  redis.call('XGROUP', 'CREATE', stream, group, begin)
end
redis.call('DEL', KEYS[3], KEYS[4], KEYS[5])
redis.call('ZADD', private, as_text(now_ms() + tonumber(ARGV[3])), group)
return begin
