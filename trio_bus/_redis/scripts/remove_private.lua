-- KEYS stream, private groups, due, tending, notes. ARGV group, and 1 if only where its expiry is over.
local stream, private, group = KEYS[1], KEYS[2], ARGV[1]
if ARGV[2] == '1' then
  local kept_until = redis.call('ZSCORE', private, group)
  if not kept_until or tonumber(kept_until) > now_ms() then
    return 0 -- it is kept, or somebody else was first
  end
end
local destroyed = redis.pcall('XGROUP', 'DESTROY', stream, group)
if is_error(destroyed) and code(destroyed) ~= 'ERR' then -- ERR: there is no stream
  return destroyed
end
redis.call('DEL', KEYS[3], KEYS[4], KEYS[5])
redis.call('ZREM', private, group)
return 1
