-- KEYS stream, notes. ARGV group ('' for the dead letters in the stream itself), where to begin,
-- how many entries to look at, and after how many bytes to stop.
-- Answers id and fields, with context, of dead ones; and where to go on, or '' at the end.
local stream, notes, group, start = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local ROWS, BYTES = tonumber(ARGV[3]), tonumber(ARGV[4])
local rows, bytes = {}, 0

-- Whether it has a context; adds up its bytes.
local function weigh(fields)
  local has_context = false
  for at = 1, #fields, 2 do
    has_context = has_context or fields[at] == CONTEXT[1]
    bytes = bytes + #fields[at] + #fields[at + 1]
  end
  return has_context
end

local function letters()
  for _ = 1, ROWS do
    local entry = redis.call('XRANGE', stream, start, '+', 'COUNT', 1)[1]
    if not entry then
      return ''
    end
    if weigh(entry[2]) then
      rows[#rows + 1] = entry
    end
    start = '(' .. entry[1]
    if bytes > BYTES then
      break
    end
  end
  return start
end

local function kept()
  local pending = redis.call('XPENDING', stream, group, start, '+', ROWS, DEAD)
  for _, row in ipairs(pending) do
    local id = row[1]
    local entry = redis.call('XRANGE', stream, id, id)[1]
    if entry then
      local note = noted(notes, id)
      if #note == 0 then -- there was no memory for it
        note = context_of(stream, group, id, row[4], now_ms() - row[3], 'exhausted', '', '')
      end
      weigh(entry[2])
      rows[#rows + 1] = {id, joined(entry[2], note)}
    end
    start = '(' .. id
    if bytes > BYTES then
      return start
    end
  end
  return #pending == ROWS and start or ''
end

if group == '' then
  return {rows, letters()}
end
local refused = group_error(stream, group)
if refused then
  return code(refused) == 'NOGROUP' and {rows, ''} or refused
end
return {rows, kept()}
