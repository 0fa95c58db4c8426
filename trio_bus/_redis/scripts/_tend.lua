-- Tending a group: what one member does for all, as a part of its look. Who looks first after the
-- group was left alone for long enough does it, in that same atomic step: nobody holds an office
-- that could die with its holder.
--
-- The hash `tending` remembers when that was last (TENDED), where the search for entries of DUE
-- without a row goes on (ROWLESS), of each consumer when to look at its leases again (WATCHED), and
-- when the first lease of all can end (ENDS).
-- It goes when nobody tends any more; without it, everything is looked at anew.
local TENDED, ROWLESS, WATCHED, ENDS = 'tended', 'rowless', 'watched', 'ends'
local ROWS = 100 -- pending entries that one step looks at: to move them takes half a millisecond

-- Answers whether something was moved to where all can take it, the ids of deleted entries, whether
-- another step should follow at once, and the time before which no lease can end. Times are in
-- milliseconds: *every* is how long the group is left alone, *patience* how long a consumer without
-- entries may be idle.
local function tend(stream, due, tending, active, group, me, now, lease, every, patience)
  local rows_left, unfinished, changed, moved, gone = ROWS, false, false, false, {}

  local last, packed = redis.call('HGET', tending, TENDED), redis.call('HGET', tending, WATCHED)
  local ends = now + lease -- what is read from now on ends later
  local since = last and now - tonumber(last) or every
  if since >= 0 and since < every then -- below 0: the clock went back
    local known = tonumber(redis.call('HGET', tending, ENDS) or 0)
    return false, gone, false, math.max(now + every - since, known <= ends and known or 0)
  end

  -- The next entries of a consumer, and where to go on; '-' if that was the end.
  local function rows_of(consumer, start)
    local rows = redis.call('XPENDING', stream, group, start, '+', rows_left, consumer)
    local is_end = #rows < rows_left
    unfinished = unfinished or not is_end
    rows_left = rows_left - #rows
    return rows, is_end and '-' or '(' .. rows[#rows][1]
  end

  -- An entry of DUE without a row is due. It gets one, so that nobody else has to search.
  local function give_rows()
    if rows_left == 0 then
      return
    end
    local start = redis.call('HGET', tending, ROWLESS) or '-'
    local rows, next_start = rows_of(DUE, start)
    for _, row in ipairs(rows) do
      if not redis.call('ZSCORE', due, row[1]) then
        redis.call('ZADD', due, as_text(now), row[1])
        moved = true
      end
    end
    redis.call('HSET', tending, ROWLESS, next_start)
  end

  -- Nobody has kept the order for two leases: what waits for its key can be taken by anybody.
  local function free_parked()
    if rows_left == 0 or redis.call('HGET', active, 'token') then
      return
    end
    for _, row in ipairs(rows_of(KEY, '-')) do
      if move(stream, group, FREE, row[1], row[4]) then
        moved = true
      else
        gone[#gone + 1] = row[1]
      end
    end
  end

  local function abandon(id, attempt)
    if move(stream, group, ABANDONED, id, attempt) then
      moved = true
    else
      gone[#gone + 1] = id
    end
  end

  -- Look at the leases of one consumer, if one of them can have run out. What is known of it is
  -- when to look next, the first end of a lease that this look has met, and where it goes on.
  local function watch(consumer, known)
    if known and known[1] > now + lease then
      known = nil -- the clock went back
    end
    if rows_left == 0 or known and known[1] > now then
      return known
    end
    local first, start, rows = now + lease, '-', nil
    if known and known[3] ~= '-' then
      first, start = known[2], known[3]
    end
    rows, start = rows_of(consumer, start)
    changed = true
    for _, row in ipairs(rows) do
      if row[3] >= lease and consumer ~= me then -- others find what we have lost
        abandon(row[1], row[4])
      else
        first = math.min(first, now + lease - row[3])
      end
    end
    return {start == '-' and first or now, first, start}
  end

  local known, watched = packed and cmsgpack.unpack(packed) or {}, {}
  for _, consumer in ipairs(consumers_of(stream, group)) do
    local name = consumer.name
    if name == DUE then
      if consumer.pending > redis.call('ZCARD', due) then
        give_rows()
      end
    elseif name == KEY then
      if consumer.pending > 0 then
        free_parked()
        ends = math.min(ends, now + math.max(0, redis.call('PTTL', active)))
      end
    elseif consumer.pending > 0 and not is_reserved(name) then
      watched[name] = watch(name, known[name])
      ends = math.min(ends, watched[name] and watched[name][1] or now)
    elseif name ~= me and not is_reserved(name) and consumer.idle > patience then
      redis.call('XGROUP', 'DELCONSUMER', stream, group, name)
    end
  end
  redis.call('HSET', tending, TENDED, as_text(unfinished and 0 or now), ENDS, as_text(ends))
  for name in pairs(known) do
    changed = changed or not watched[name]
  end
  if changed then -- else replicas and the append-only file have it already
    redis.call('HSET', tending, WATCHED, cmsgpack.pack(watched))
  end
  redis.call('PEXPIRE', tending, patience)
  return moved, gone, unfinished, math.max(now + every, ends)
end
