-- KEYS stream, due. ARGV group, me, lease in milliseconds, how many due rows to look at.
-- Answers 1 if take_over would find something; changes nothing.
local stream, due, group, me = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local refused = group_error(stream, group)
if refused then
  return refused
end
local rows = redis.call('ZRANGEBYSCORE', due, '-inf', as_text(now_ms()), 'LIMIT', 0, ARGV[4])
for _, id in ipairs(rows) do
  if #redis.call('XPENDING', stream, group, id, id, 1, DUE) > 0 then
    return 1
  end
end

local function holds_claimable(name)
  if name == DUE or name == FREE then
    return true
  end
  if name == me or is_reserved(name) then
    return false
  end
  return #redis.call('XPENDING', stream, group, 'IDLE', ARGV[3], '-', '+', 1, name) > 0
end

for _, consumer in ipairs(consumers_of(stream, group)) do
  local held = consumer.pending
  if consumer.name == DUE then
    held = held - redis.call('ZCARD', due) -- an entry without a row is due
  end
  if held > 0 and holds_claimable(consumer.name) then
    return 1
  end
end
return 0
