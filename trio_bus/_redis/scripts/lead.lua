-- KEYS stream, active. ARGV group, me, lease in milliseconds, and the token to keep or ''.
-- Answers the token of whoever asks, or 0 if he is not active.
local stream, active, group, me = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local lease, kept = tonumber(ARGV[3]), ARGV[4]
local refused = group_error(stream, group)
if refused then
  return refused
end
local now = now_ms()
local owner = redis.call('HGET', active, 'owner')
local token = tonumber(redis.call('HGET', active, 'token') or 0)

-- A lease that begins in the future began before the clock was set back: nobody knows its end.
local function is_over()
  local since = tonumber(redis.call('HGET', active, 'since') or 0)
  local ends = tonumber(redis.call('HGET', active, 'until') or 0)
  return not owner or owner == me or now >= ends or now < since
end

if kept ~= '' then
  if not is_active(active, me, kept) then
    return 0
  end
elseif is_over() then
  token = math.max(token + 1, now) -- greater than all before, also where those are forgotten
else
  return 0
end
redis.call('HSET', active, 'owner', me, 'token', as_text(token), 'since', as_text(now),
  'until', as_text(now + lease))
redis.call('PEXPIRE', active, 2 * lease) -- what waits for its key is free for all then
return token
