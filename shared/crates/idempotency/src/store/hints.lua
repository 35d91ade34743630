-- Redis as a cache in front of MongoDB. A key holds a claim, which is a hint, or a result that MongoDB has acknowledged. An
-- unfinished record never replaces a result. The rules are those of hints/rules.rs.
--
-- KEYS[1]  the key
-- args     operation      one of: claim, look, store, remove
--          owner          whose claim is stored or removed
--          fingerprint    of the request
--          lease          of a claim, with the width of a header field
--          retention      how long a result is replayed: the retention less the clock margin
--          finished_at    when MongoDB stored the result
--          result         the record with the result
-- Replies  a verdict, the server's time, and where needed the record or the end of the lease
--
-- The layout of a record is in record/text.rs. Fields stay text for the reason that record.lua gives. Times and durations are
-- milliseconds.

local HEADER = 211
-- Our claims start in the past and are at most this long. Any other claim was written by another program and is not a hint.
local LONGEST_LEASE = 900000
local HEADER_START, HEADER_END = '0', '210'
local PATTERN = '^tb1 ([a-z_]+) *(%x+) %d+ %d+ (%d+) (%d+) %d+ %d+ (%d+) [01] (%x+) (%d+)\n$'

local key, operation, retention = KEYS[1], args.operation, args.retention

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local header = redis.pcall('GETRANGE', key, HEADER_START, HEADER_END)
if header == '' and operation == 'claim' then
  local now_text = string.format('%013d', now)
  local text = 'tb1 in_progress ' .. args.owner .. ' 0000000000 0000000000 ' .. now_text .. ' ' .. args.lease .. ' 0000000000000 '
    .. now_text .. ' 0000000000000 0 ' .. args.fingerprint .. ' 00000000\n'
  -- NX, because an empty value looks like an absent key here, and must not be replaced.
  redis.call('SET', key, text, 'PX', retention, 'NX')
  return {'ask', now}
end

local state, owner, leased_at, lease, finished_at, fingerprint, length
if type(header) == 'string' then
  state, owner, leased_at, lease, finished_at, fingerprint, length = string.match(header, PATTERN)
end

if operation == 'store' then
  local last = args.finished_at + retention
  local is_older = state == 'completed' and tonumber(finished_at) > tonumber(args.finished_at)
  -- A truncated value is replaced. So is the same result, which is sent again after a reader found it unreadable.
  if now >= last or (is_older and redis.call('STRLEN', key) == HEADER + length) then
    return {'discarded', now}
  end
  redis.call('SET', key, args.result, 'PXAT', last)
  return {'stored', now}
end

if operation == 'remove' then
  if state == 'in_progress' and owner == args.owner then
    redis.call('DEL', key)
  end
  return {'removed', now}
end

if state == 'completed' and now < finished_at + retention then
  if fingerprint ~= args.fingerprint then
    return {'mismatch', now, redis.call('GET', key)}
  end
  return {'replay', now, redis.call('GET', key)}
elseif state == 'in_progress' and fingerprint == args.fingerprint and owner ~= args.owner and tonumber(leased_at) <= now
  and tonumber(lease) <= LONGEST_LEASE and now < leased_at + lease then
  return {'in_progress', now, leased_at + lease}
end
return {'ask', now}
