-- KEYS stream, schedule. ARGV a group and its last delivered id, for each group.
-- Answers the oldest id of the stream, how many messages are scheduled, and for each group the
-- oldest id that it has not finished; '' where there is none. Only ids leave the server: an entry
-- may be large.
local stream, schedule = KEYS[1], KEYS[2]
local LAST = '18446744073709551615-18446744073709551615' -- no interval can begin behind it

local function first_id(from)
  local found = redis.call('XRANGE', stream, from, '+', 'COUNT', 1)[1]
  return found and found[1] or ''
end

local function first_behind(id)
  return id == LAST and '' or first_id('(' .. id)
end

local function first_pending(group)
  local oldest = ''
  for _, consumer in ipairs(consumers_of(stream, group)) do
    if consumer.name ~= DEAD and consumer.pending > 0 then
      local row = redis.call('XPENDING', stream, group, '-', '+', 1, consumer.name)[1]
      if row and (oldest == '' or is_before(row[1], oldest)) then
        oldest = row[1]
      end
    end
  end
  return oldest
end

local groups = {}
for at = 1, #ARGV, 2 do
  local oldest = ''
  if not group_error(stream, ARGV[at]) then
    oldest = first_pending(ARGV[at])
    -- What is pending was delivered before all that was not, but for a group that was set back.
    local waiting = first_behind(ARGV[at + 1])
    if waiting ~= '' and (oldest == '' or is_before(waiting, oldest)) then
      oldest = waiting
    end
  end
  groups[#groups + 1] = oldest
end
return {first_id('-'), redis.call('ZCARD', schedule), groups}
