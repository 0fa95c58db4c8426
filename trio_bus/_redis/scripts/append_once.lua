-- KEYS stream, mark. ARGV window in milliseconds, 1 if a hit must write too, names and values.
-- Answers the id of the record that is stored under the mark. Sent as text each time, without the
-- library: a server that forgot it cannot disturb the order of what is sent together.
local first = redis.pcall('GET', KEYS[2])
if first then
  -- WAITAOF waits for the last write of its own client. This one needs no memory.
  if ARGV[2] == '1' and not first.err then
    redis.call('PEXPIRE', KEYS[2], redis.call('PTTL', KEYS[2]))
  end
  return first
end
-- The record before the mark: a server that is full refuses the first write, and only that.
local added = redis.pcall('XADD', KEYS[1], '*', unpack(ARGV, 3))
if added.err then
  return added
end
local marked = redis.pcall('SET', KEYS[2], added, 'PX', ARGV[1])
if marked.err then
  -- A user without the right: what cannot be stored once is not stored.
  redis.call('XDEL', KEYS[1], added)
  return marked
end
return added
