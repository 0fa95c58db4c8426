-- Retention: what one member does for a whole topic, as a part of its look. Who looks first after
-- the topic was left alone for long enough does it. The key `retained` stands until then, one for
-- each retention that members of this topic have.
local CUT = 1000 -- entries: whole blocks of them go at once, which takes microseconds
local MOST_CUT = 10000 -- what one step removes
local STEPPED, STEPPED_BYTES = 200, 1024 * 1024 -- entries that one step looks at, one by one
local DELETED = 1000 -- how many dead entries that were deleted one step passes over

-- The next id there can be. Numbers of Lua would lose digits.
local function following(id)
  local function next_number(text)
    local head, digit, nines = string.match(text, '^(.-)(%d)(9*)$')
    if digit == '9' then -- nothing but nines
      return '1' .. string.rep('0', #text)
    end
    return head .. tostring(tonumber(digit) + 1) .. string.rep('0', #nines)
  end
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  if seq ~= LAST_NUMBER then
    return ms .. '-' .. next_number(seq)
  end
  return ms == LAST_NUMBER and id or next_number(ms) .. '-0'
end

-- The first id that is pending in a group; not that of a dead entry which was deleted: nobody can
-- list it or send it back. Behind too many of those it is one of them.
local function first_pending(stream, group)
  local start = '-'
  for _ = 1, DELETED do
    local row = redis.call('XPENDING', stream, group, start, '+', 1)[1]
    if not row then
      return nil
    elseif row[2] ~= DEAD or #redis.call('XRANGE', stream, row[1], row[1]) > 0 then
      return row[1]
    end
    start = '(' .. row[1]
  end
  return string.sub(start, 2)
end

-- An id before which every group has finished everything.
local function first_unfinished(stream)
  local first = LAST_NUMBER .. '-' .. LAST_NUMBER
  for _, group in ipairs(groups_of(stream)) do
    local pending = first_pending(stream, group.name)
    for _, id in ipairs({following(group['last-delivered-id']), pending}) do
      if is_before(id, first) then
        first = id
      end
    end
  end
  return first
end

-- Remove the oldest entries, down to that number of them or up to that id; say how many went.
local function cut(stream, strategy, bound)
  local gone = 0
  while gone < MOST_CUT do
    local cut_off = redis.call('XTRIM', stream, strategy, '~', bound, 'LIMIT', CUT)
    if cut_off == 0 then -- what is left of the last block
      return gone + redis.call('XTRIM', stream, strategy, '=', bound)
    end
    gone = gone + cut_off
  end
  return gone
end

-- How many of the oldest entries are before that id: at most so many, and no more than one step
-- looks at; and whether there may be more. Servers cannot count without reading.
local function count_before(stream, bound, most)
  local count, bytes, start, wanted = 0, 0, '-', 1
  while count < most and count < STEPPED and bytes < STEPPED_BYTES do
    local rows = redis.call('XRANGE', stream, start, '+', 'COUNT', math.min(wanted, most - count))
    for _, row in ipairs(rows) do
      if not is_before(row[1], bound) then
        return count, false
      end
      count, start = count + 1, '(' .. row[1]
      for _, text in ipairs(row[2]) do
        bytes = bytes + #text
      end
    end
    wanted = wanted * 2
  end
  return count, count < most
end

-- Answers how many entries were removed, and whether another step should follow at once; or an
-- error. Times are in milliseconds: *max_age* and *every*; *max_age* and *max_length* may be ''.
local function retain(stream, retained, now, max_age, max_length, finished, every)
  local left = redis.call('PTTL', retained)
  if every > 0 and left >= 0 and left <= every then -- beyond that: the clock went back
    return 0, false
  end
  local safe, gone, more = finished and first_unfinished(stream), 0, false
  if max_age ~= '' then
    local bound = as_text(math.max(0, now - tonumber(max_age))) .. '-0'
    gone = cut(stream, 'MINID', safe and is_before(safe, bound) and safe or bound)
  end
  local length = redis.call('XLEN', stream)
  local goes = max_length ~= '' and length - tonumber(max_length) or 0
  if goes > 0 and gone < MOST_CUT then
    if safe then
      goes, more = count_before(stream, safe, goes)
    end
    gone = gone + cut(stream, 'MAXLEN', length - goes)
  end
  more = more or gone >= MOST_CUT
  if every > 0 and not more then
    redis.call('SET', retained, '', 'PX', every)
  end
  return gone, more
end
