-- Redis as a cache in front of MongoDB. This script removes a hint. It also stores a result whose own hint is no longer the stored
-- value.
--
-- The value of a key is a hint or a result. A hint is a claim. A result is stored only after MongoDB has acknowledged it. An
-- unfinished record never replaces a result.
--
-- KEYS[1]  the key
-- args     operation      store or remove
--          owner          the owner of the hint to remove
--          finished_at    the time at which MongoDB stored the result
--          end            the time at which Redis deletes the result
--          result         the record with the result
-- Replies  1 if the value was stored or removed, otherwise 0
--
-- The layouts of a record are in redis_text.rs. Times are in milliseconds.

-- Both offsets are strings: Redis would have to format a number from floating point in every call of a command.
local HEADER_START, HEADER_END = '0', '224'
local HEADER, OLD_HEADER = 225, 211
local FIELDS = '([a-z_]+) *(%x+) %d+ %d+ %d+ %d+ %d+ %d+ (%d+) [01] %x+ (%d+)\n'

local header = redis.pcall('GETRANGE', KEYS[1], HEADER_START, HEADER_END)
local state, owner, finished_at, length
local header_length = HEADER
if type(header) == 'string' then
  state, owner, finished_at, length = string.match(header, '^tb2 %d+ ' .. FIELDS .. '$')
  if not state then
    header_length = OLD_HEADER
    state, owner, finished_at, length = string.match(string.sub(header, 1, OLD_HEADER), '^tb1 ' .. FIELDS .. '$')
  end
end

if args.operation == 'store' then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local is_older = state == 'completed' and tonumber(finished_at) > tonumber(args.finished_at)
  -- A truncated value is replaced. A stored copy of this result is replaced too, because a reader may have found it unreadable.
  if now >= tonumber(args['end']) or (is_older and redis.call('STRLEN', KEYS[1]) == header_length + length) then
    return 0
  end
  redis.call('SET', KEYS[1], args.result, 'PXAT', args['end'])
  return 1
end
if state == 'in_progress' and owner == args.owner then
  return redis.call('DEL', KEYS[1])
end
return 0
