-- Redis in front of MongoDB. A key holds a claim, which is a hint, or a result that MongoDB has acknowledged. An unfinished
-- record never replaces a result. The rules are those of hints/rules.rs.
--
-- KEYS[1]  the key
-- ARGV     1 the operation: claim, look, result or remove    2 the owner    3 the fingerprint
--          4 the claim's lease, with the width of a header field; or the time at which the result was stored
--          5 the retention without its margin    6 the result
-- Replies  a verdict, the server's time, and where needed the record or the end of the lease
--
-- The layout of a record is in record/text.rs. Fields stay text for the reason that record.lua gives. Times and durations are
-- milliseconds.

local HEADER = 211
-- Our claims start in the past and are at most this long. Any other claim was written by another program and is not a hint.
local LONGEST_LEASE = 900000
local HEADER_START, HEADER_END = '0', '210'
local PATTERN = '^tb1 ([a-z_]+) *(%x+) %d+ %d+ (%d+) (%d+) %d+ %d+ (%d+) [01] (%x+) (%d+)\n$'

local key, operation, caller, asked, number, retention = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local header = redis.pcall('GETRANGE', key, HEADER_START, HEADER_END)
if header == '' and operation == 'claim' then
  local now_text = string.format('%013d', now)
  local text = 'tb1 in_progress ' .. caller .. ' 0000000000 0000000000 ' .. now_text .. ' ' .. number .. ' 0000000000000 '
    .. now_text .. ' 0000000000000 0 ' .. asked .. ' 00000000\n'
  -- NX: an empty value looks like an absent one, and is not replaced.
  redis.call('SET', key, text, 'PX', retention, 'NX')
  return {'ask', now}
end

local state, owner, leased_at, lease, finished_at, fingerprint, length
if type(header) == 'string' then
  state, owner, leased_at, lease, finished_at, fingerprint, length = string.match(header, PATTERN)
end

if operation == 'result' then
  local last = number + retention
  local is_older = state == 'completed' and tonumber(finished_at) > tonumber(number)
  -- A truncated value is replaced. So is the same result, which is sent again after a reader found it unreadable.
  if now >= last or (is_older and redis.call('STRLEN', key) == HEADER + length) then
    return {'discarded', now}
  end
  redis.call('SET', key, ARGV[6], 'PXAT', last)
  return {'done', now}
end

if operation == 'remove' then
  if state == 'in_progress' and owner == caller then
    redis.call('DEL', key)
  end
  return {'done', now}
end

if state == 'completed' and now < finished_at + retention then
  if fingerprint ~= asked then
    return {'mismatch', now, redis.call('GET', key)}
  end
  return {'replay', now, redis.call('GET', key)}
elseif state == 'in_progress' and fingerprint == asked and owner ~= caller and tonumber(leased_at) <= now
  and tonumber(lease) <= LONGEST_LEASE and now < leased_at + lease then
  return {'in_progress', now, leased_at + lease}
end
return {'ask', now}
