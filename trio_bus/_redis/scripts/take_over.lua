-- KEYS stream, due and, where there is one, the dead-letter stream.
-- ARGV group, me, count, max attempt, extra looks; cause, error type and error text of an exhausted
-- entry. Answers entries (id, fields, attempt), buried (id, attempt), gone ids.
local stream, due, dead_letters, group, me = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]
local count, max_attempt = tonumber(ARGV[3]), tonumber(ARGV[4])
local looks = count + tonumber(ARGV[5])
local PAGE = 100
local refused = group_error(stream, group)
if refused then
  return refused
end
local entries, buried, gone, refusal = {}, {}, {}, nil

local function has_room()
  return #entries < count and looks > 0
end

local function taken()
  return #entries + #buried + #gone
end

local function bury_exhausted(id, attempt)
  local text = string.gsub(ARGV[8], '%%d', as_text(attempt))
  local answer = bury(
    stream, due, dead_letters, group, id, attempt, ARGV[6], ARGV[7], text)
  if answer == GONE then
    gone[#gone + 1] = id
  elseif answer == DONE then
    buried[#buried + 1] = {id, attempt}
  else
    refusal = refusal or answer
  end
end

local function take(id, attempt)
  looks = looks - 1
  if attempt >= max_attempt then
    bury_exhausted(id, attempt)
    return
  end
  local claimed = redis.call('XCLAIM', stream, group, me, 0, id)[1]
  if claimed then
    redis.call('ZREM', due, id)
    entries[#entries + 1] = {id, claimed[2], attempt + 1}
  else
    drop(stream, due, group, id)
    gone[#gone + 1] = id
  end
end

-- 1. Entries whose time has come; rows that speak of no waiting entry are forgotten.
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
        take(id, row[4])
        kept = kept + (taken() == before and 1 or 0)
      else
        looks = looks - 1
        redis.call('ZREM', due, id)
      end
    end
  end
end

-- 2 and 3. Entries of one consumer, in id order.
local function take_from(consumer)
  local start = '-'
  while has_room() do
    local page = math.min(looks, count - #entries)
    local rows = redis.call('XPENDING', stream, group, start, '+', page, consumer)
    for _, row in ipairs(rows) do
      take(row[1], row[4])
    end
    if #rows < page then
      return
    end
    start = '(' .. rows[#rows][1]
  end
end

take_due(as_text(now_ms()))
take_from(FREE)
take_from(ABANDONED)
if refusal and taken() == 0 then
  return refusal
end
return {entries, buried, gone}
