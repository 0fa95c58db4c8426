-- KEYS stream, then what the outputs name: their streams, and the marks of those stored only once.
-- ARGV group, me, id, attempt, then of each output: which key is its stream, which its mark (0 for
-- none), for how many milliseconds that is kept, how many names and values follow, and those.
-- Answers one code, in a list: DONE when all outputs are there and the entry is finished.
local stream, group, me, id, attempt = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local refused = group_error(stream, group)
if refused then
  return code(refused) == 'NOGROUP' and all_lost(1) or refused
end
if not is_owned(stream, group, me, id, attempt) then
  if #redis.call('XPENDING', stream, group, id, id, 1) > 0 then
    return {LOST}
  end
  return {#redis.call('XRANGE', stream, id, id) > 0 and FINISHED or ABSENT}
end

-- The first error, if there is one: what was done before it is undone then.
local added, marked = {}, {}
local function append(output, mark, window, first, last)
  if mark then
    local earlier = redis.pcall('GET', mark)
    if earlier then
      return is_error(earlier) and earlier or nil
    end
  end
  local entry = redis.pcall('XADD', output, '*', unpack(ARGV, first, last))
  if is_error(entry) then
    return entry
  end
  added[#added + 1] = {output, entry}
  if mark then
    local answer = redis.pcall('SET', mark, entry, 'PX', window)
    if is_error(answer) then
      return answer
    end
    marked[#marked + 1] = mark
  end
end

local at, failed = 5, nil
while at <= #ARGV and not failed do
  local mark, last = KEYS[tonumber(ARGV[at + 1])], at + 3 + tonumber(ARGV[at + 3])
  failed = append(KEYS[tonumber(ARGV[at])], mark, ARGV[at + 2], at + 4, last)
  at = last + 1
end
if failed then
  for _, one in ipairs(added) do
    redis.pcall('XDEL', one[1], one[2])
  end
  for _, mark in ipairs(marked) do
    redis.pcall('DEL', mark)
  end
  return failed
end
redis.call('XACK', stream, group, id)
return {DONE}
