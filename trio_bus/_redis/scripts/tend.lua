-- KEYS stream. ARGV group, me, lease in milliseconds. Removes consumers that own nothing and have
-- been idle for two leases; answers how many.
local stream, group, me, lease = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local refused = group_error(stream, group)
if refused then
  return refused
end
local removed = 0
for _, consumer in ipairs(consumers_of(stream, group)) do
  local is_other = consumer.name ~= me and not is_reserved(consumer.name)
  if is_other and consumer.pending == 0 and consumer.idle > 2 * lease then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer.name)
    removed = removed + 1
  end
end
return removed
