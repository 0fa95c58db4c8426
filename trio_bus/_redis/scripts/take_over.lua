-- KEYS stream, due, notes and, where there is one, the dead-letter stream.
-- ARGV group, me, count, lease in milliseconds, max attempt, extra looks; cause, error type and
-- error text of an exhausted entry; with how many counts an abandoned entry is a suspect; what to
-- do about suspects: 'book' one, or the id of the only one to take, or ''.
-- Whoever is active and keeps an order says 'ordered', or 'alone' where suspects are to be taken too;
-- his token and the ids that are to be started follow, and KEYS ends with `active`.
-- Answers entries (id, fields, attempt), buried (id, attempt), gone ids, suspects that were set
-- apart (id, attempt), and the id of the one that was booked, or ''. In order come to it: what is
-- due later, what somebody holds (id, milliseconds), suspects that were set apart before, what is
-- finished, and which were set apart and are not any more; or there is no answer, if who asks is not
-- active.
local stream, due, notes, dead_letters = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, me = ARGV[1], ARGV[2]
local count, lease, max_attempt = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local LOOKS = count + tonumber(ARGV[6])
local looks = LOOKS
local suspicious, wish = tonumber(ARGV[10]), ARGV[11]
local PAGE = 100
local refused = group_error(stream, group)
if refused then
  return refused
end
local entries, buried, gone, suspects, booked, refusal = {}, {}, {}, {}, '', nil
local is_ordered = wish == 'ordered' or wish == 'alone'
local later, held, apart, over, alone = {}, {}, {}, {}, {}
if is_ordered and #KEYS == 4 then
  dead_letters = nil
end
if is_ordered and not is_active(KEYS[#KEYS], me, ARGV[12]) then
  return false
end

local function has_room()
  return #entries < count and looks > 0
end

local function taken()
  return #entries + #buried + #gone + #suspects
end

local function bury_exhausted(id, attempt)
  local text = string.gsub(ARGV[9], '%%d', as_text(attempt))
  local answer = bury(
    stream, due, notes, dead_letters, group, id, attempt, ARGV[7], ARGV[8], text)
  if answer == GONE then
    gone[#gone + 1] = id
  elseif answer == DONE then
    buried[#buried + 1] = {id, attempt}
  else
    refusal = refusal or answer
  end
end

local function claim(id, attempt)
  local claimed = redis.call('XCLAIM', stream, group, me, 0, id)[1]
  if claimed then
    entries[#entries + 1] = {id, claimed[2], attempt + 1}
  end
  return claimed
end

local function part(id, attempt)
  local parted = set_apart(stream, group, SUSPECT, id, attempt)
  if parted then
    suspects[#suspects + 1] = {id, attempt}
  end
  return parted
end

-- Take an entry, or bury it, or set it apart; the row is that of XPENDING.
local function take(row, is_suspect)
  local id, attempt = row[1], row[4]
  looks = looks - 1
  if attempt >= max_attempt then
    bury_exhausted(id, attempt)
  elseif (is_suspect and part or claim)(id, attempt) then
    redis.call('ZREM', due, id)
  else
    drop(stream, due, group, id)
    gone[#gone + 1] = id
  end
end

-- Entries whose time has come; rows that speak of no waiting entry are forgotten.
local function take_due(now)
  local kept = 0 -- rows that stay: their entry could not be buried
  while has_room() do
    local ids = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', kept, math.min(looks, PAGE))
    if #ids == 0 then
      return
    end
    for _, id in ipairs(ids) do
      if not has_room() then
        return
      end
      local row = redis.call('XPENDING', stream, group, id, id, 1, DUE)[1]
      local before = taken()
      if row then
        take(row, is_set_apart(row))
        kept = kept + (taken() == before and 1 or 0)
      else
        looks = looks - 1
        redis.call('ZREM', due, id)
      end
    end
  end
end

-- Entries of one consumer, in id order; with so many counts it is a suspect.
local function take_from(consumer, suspicious_from)
  local start = '-'
  while has_room() do
    local page = math.min(looks, count - #entries)
    local rows = redis.call('XPENDING', stream, group, start, '+', page, consumer)
    for _, row in ipairs(rows) do
      take(row, row[4] >= suspicious_from)
    end
    if #rows < page then
      return
    end
    start = '(' .. rows[#rows][1]
  end
end

-- What fails again and again is due again and again: it comes after what others left. That, in
-- turn, may hold what cannot be buried, which does not use up the looks for what is due.
local function take_all()
  take_from(FREE, math.huge)
  take_from(ABANDONED, suspicious)
  looks = LOOKS
  take_due(as_text(now_ms()))
end

-- The first suspect that nobody has booked within a lease; those that were deleted are dropped.
local function book()
  for _ = 1, PAGE do
    local row = redis.call('XPENDING', stream, group, 'IDLE', lease, '-', '+', 1, SUSPECT)[1]
    if not row or move(stream, group, SUSPECT, row[1], row[4]) then
      return row and row[1] or ''
    end
    drop(stream, due, group, row[1])
    gone[#gone + 1] = row[1]
  end
  return ''
end

-- In order: an entry is started if nobody has it, and its time has come.
local function start(row)
  local id, owner, idle = row[1], row[2], row[3]
  local at = owner == DUE and tonumber(redis.call('ZSCORE', due, id) or 0) or 0
  if at > now_ms() then
    later[#later + 1] = {id, at - now_ms()}
  elseif owner == DUE then
    take(row, is_set_apart(row))
  elseif owner == SUSPECT and wish ~= 'alone' then
    apart[#apart + 1] = id
  elseif owner == ABANDONED or not is_reserved(owner) and idle >= lease then
    take(row, row[4] >= suspicious)
  elseif is_reserved(owner) then
    alone[#alone + 1] = owner == SUSPECT and id or nil
    take(row, false)
  else
    held[#held + 1] = {id, lease - idle}
  end
end

local function start_all()
  for at = 13, #ARGV do
    local row = redis.call('XPENDING', stream, group, ARGV[at], ARGV[at], 1)[1]
    if not row or row[2] == DEAD then
      over[#over + 1] = ARGV[at]
    else
      start(row)
    end
  end
end

if is_ordered then
  start_all()
elseif wish == '' or wish == 'book' then
  take_all()
  booked = wish == 'book' and book() or ''
else
  local row = redis.call('XPENDING', stream, group, wish, wish, 1, SUSPECT)[1]
  if row then
    take(row, false)
  end
end
if refusal and taken() + #later + #held + #apart + #over == 0 and booked == '' then
  return refusal
end
return {entries, buried, gone, suspects, booked, later, held, apart, over, alone}
