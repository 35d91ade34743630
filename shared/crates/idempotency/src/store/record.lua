-- One operation on one record, in one atomic step and by the server's clock. The rules are those of decision.rs.
--
-- KEYS[1]  the record: a header of fixed width, then the checkpoint or the saved response (redis_text.rs)
-- args     operation      one of: claim, look, read, complete, release, renew, checkpoint, mark_unknown, resolve_completed,
--                         resolve_released, resolve_reopened
--          owner          the owner; fresh for every claim and every resolution
--          retention      how long a finished record is kept
--          kept_for       how long the record of a new claim is kept: the retention plus the lease
--          fingerprint    the digest of the request
--          bound          the policy's bound: the time after the first claim within which another attempt has to start and end
--          lease          the length of the lease; for a renewal, the length of the new lease
--          attempt        the attempt that changes its record
--          follows        the rev that a renewal or a checkpoint follows; zero: unknown
--          body           the checkpoint or the saved response to store
--          seen_owner, seen_rev, seen_first_at    the version that a resolution replaces
-- Replies  a verdict and the server's time; some verdicts add the record, the end of the lease, or the rev
--
-- Times and durations are in milliseconds. A finished record is kept for the retention after it was written. An unfinished record
-- is kept for the retention after the end of its lease or after its last write, whichever is later. So no claim expires while its
-- owner works.
--
-- While this script runs, every other client of the server waits. So the script saves instructions. Fields are text with the width
-- of their header field, and become numbers only for arithmetic. The script checks the length of a body only if it copies the body.
-- If the record is part of the reply, the client checks that length.

local HEADER, OLD_HEADER = 225, 211
-- Both offsets are strings: Redis would have to format a number from floating point in every call of a command.
local HEADER_START, HEADER_END = '0', '224'
local PATTERN = '^([a-z_]+ *) (%x+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) ([01]) (%x+) (%d+)\n$'
local IN_PROGRESS, UNKNOWN, RELEASED, COMPLETED = 'in_progress', 'unknown    ', 'released   ', 'completed  '
local FIRST, NEVER, ALWAYS = '0000000001', '0000000000000', '9999999999999'

local key, operation, owner, retention = KEYS[1], args.operation, args.owner, args.retention
local fingerprint, lease = args.fingerprint, args.lease

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function time_field(ms)
  return string.format('%013d', ms)
end
local now_text = time_field(now)

local function text_of(kept, state, holder, attempt, rev, leased_at, held_for, bound, first_at, finished_at, took_over, asked,
  length, body)
  return 'tb2 ' .. kept .. ' ' .. state .. ' ' .. holder .. ' ' .. attempt .. ' ' .. rev .. ' ' .. leased_at .. ' ' .. held_for
    .. ' ' .. bound .. ' ' .. first_at .. ' ' .. finished_at .. ' ' .. took_over .. ' ' .. asked .. ' ' .. length .. '\n' .. body
end

local function record(state, holder, attempt, rev, leased_at, held_for, bound, first_at, finished_at, took_over, asked, body)
  return text_of(time_field(retention), state, holder, attempt, rev, leased_at, held_for, bound, first_at, finished_at, took_over,
    asked, string.format('%08d', #body), body)
end

local header = redis.pcall('GETRANGE', key, HEADER_START, HEADER_END)
if type(header) ~= 'string' then
  return {'unreadable', now}
end

if header == '' then
  local text
  local kept_for = retention
  if operation == 'claim' then
    text = record(IN_PROGRESS, owner, FIRST, FIRST, now_text, lease, args.bound, now_text, NEVER, '0', fingerprint, '')
    kept_for = args.kept_for
  elseif operation == 'complete' then
    -- The store has lost the claim. The result is stored anyway, because the operation took effect.
    text = record(COMPLETED, owner, args.attempt, FIRST, now_text, lease, args.bound, now_text, now_text, '0', fingerprint,
      args.body)
  elseif operation == 'mark_unknown' then
    -- The unknown outcome is stored anyway, because the operation may have taken effect.
    text = record(UNKNOWN, owner, args.attempt, FIRST, now_text, lease, args.bound, now_text, NEVER, '0', fingerprint, '')
    kept_for = retention + lease
  else
    return {'absent', now}
  end
  -- NX, because an empty value looks like an absent key here, but counts as unreadable.
  if not redis.call('SET', key, text, 'PX', kept_for, 'NX') then
    return {'unreadable', now}
  end
  if operation == 'claim' then
    return {'claimed', now, text}
  end
  return {'stored', now}
end

-- The retention with which the record was written. Records of older versions contain no retention.
local kept, fields, header_length = string.match(header, '^tb2 (%d+) (.+)$')
if kept then
  header_length = HEADER
else
  kept, fields, header_length = NEVER, string.match(string.sub(header, 1, OLD_HEADER), '^tb1 (.+)$') or '', OLD_HEADER
end
local state, holder, attempt, rev, leased_at, held_for, bound, first_at, finished_at, took_over, asked, length =
  string.match(fields, PATTERN)
local in_progress, unknown = state == IN_PROGRESS, state == UNKNOWN
local completed, released = state == COMPLETED, state == RELEASED
if not (in_progress or unknown or completed or released)
  or #kept ~= 13 or #holder ~= 32 or #attempt ~= 10 or #rev ~= 10 or #leased_at ~= 13 or #held_for ~= 7 or #bound ~= 13
  or #first_at ~= 13 or #finished_at ~= 13 or #asked ~= 64 or #length ~= 8 then
  return {'unreadable', now}
end
-- A plain command writes a record without times, because it does not have the server's time. Then the times follow from the key's
-- expiry.
local has_times = leased_at ~= NEVER or header_length == OLD_HEADER
if not has_times then
  local expiry = redis.call('PEXPIRETIME', key)
  -- The key does not expire any more: `PERSIST` was called.
  if expiry < 0 then
    return {'unreadable', now}
  end
  if completed then
    finished_at = time_field(math.max(expiry - kept, 0))
    leased_at = finished_at
  else
    leased_at = time_field(math.max(expiry - kept - held_for, 0))
  end
  first_at = leased_at
end

-- The stored record with all its times.
local function stored()
  if has_times then
    return redis.call('GET', key)
  end
  return text_of(kept, state, holder, attempt, rev, leased_at, held_for, bound, first_at, finished_at, took_over, asked, length,
    redis.call('GETRANGE', key, header_length, '-1'))
end

if operation == 'read' then
  return {'found', now, stored()}
end

-- Whether the provider still recognises the derived key at the end of a lease that starts now.
local function may_run_again(until_then, asked_first, bounded_by)
  return tonumber(bounded_by) > 0 and until_then < asked_first + bounded_by
end

-- A refused call returns in one of the branches below. Otherwise the branch sets the fields of the next record. It sets `body` only
-- if the body changes.
local body
if operation == 'claim' or operation == 'look' then
  if (completed or released) and now >= finished_at + retention then
    -- The new claim discards the old body, so the length of that body is checked only here.
    if redis.call('STRLEN', key) ~= header_length + length then
      return {'unreadable', now}
    end
    body, bound, first_at, took_over = '', args.bound, now_text, '0'
  elseif in_progress and holder == owner and asked == fingerprint then
    return {'claim_repeated', now, stored()}
  elseif released and holder == owner then
    return {'in_progress', now, now}
  elseif released and took_over == '0' then
    bound = args.bound
  elseif asked ~= fingerprint then
    return {'mismatch', now}
  elseif completed then
    return {'replay', now, stored()}
  elseif in_progress and now < leased_at + held_for then
    return {'in_progress', now, leased_at + held_for}
  else
    -- Abandoned, unknown, or reopened: the abandoned attempt may still continue.
    bound, took_over = string.format('%013d', math.min(bound, args.bound)), '1'
    if not may_run_again(now + lease, first_at, bound) then
      return {'unknown', now}
    end
  end
  state, attempt, leased_at, held_for = IN_PROGRESS, string.format('%010d', attempt + 1), now_text, lease
  asked = fingerprint
elseif operation == 'resolve_completed' or operation == 'resolve_released' or operation == 'resolve_reopened' then
  local completes, reopens = operation == 'resolve_completed', operation == 'resolve_reopened'
  local reopened = released and took_over == '1'
  if holder ~= args.seen_owner or rev ~= args.seen_rev or first_at ~= args.seen_first_at or completed
    or (released and (reopens or not reopened)) or (not completes and in_progress and now < leased_at + held_for)
    or (reopens and bound ~= ALWAYS) then
    return {'superseded', now, stored()}
  elseif completes then
    state, body = COMPLETED, args.body
  else
    state = RELEASED
  end
  -- The next attempt after a reopening is a takeover.
  finished_at, took_over = now_text, reopens and '1' or '0'
elseif holder ~= owner or attempt ~= args.attempt then
  return {'superseded', now, stored()}
elseif operation == 'complete' and (in_progress or unknown) then
  state, finished_at, body = COMPLETED, now_text, args.body
elseif operation == 'complete' and completed then
  return {'already_stored', now, stored()}
elseif operation == 'release' and in_progress and took_over == '1' then
  -- The release covers only the new attempt. The abandoned attempt may still take effect.
  state = UNKNOWN
elseif operation == 'release' and in_progress then
  state, finished_at = RELEASED, now_text
elseif operation == 'release' and (released or (unknown and took_over == '1')) then
  return {'already_stored', now}
elseif (operation == 'renew' or operation == 'checkpoint') and in_progress and rev ~= args.follows then
  -- A checkpoint that is already stored is recognised by its body. A checkpoint without a rev is never written, so it cannot be the
  -- stored one. A renewal cannot recognise an earlier copy of itself: the length of the lease does not distinguish that copy from
  -- another write.
  if operation == 'checkpoint' and tonumber(args.follows) > 0 and rev - args.follows == 1
    and tonumber(length) == #args.body and redis.call('GETRANGE', key, header_length, '-1') == args.body then
    return {'already_stored', now}
  end
  -- Another write of this attempt came first, and this write may be a delayed message.
  return {'outdated', now, rev + 0}
elseif operation == 'renew' and in_progress then
  if took_over == '1' and not may_run_again(now + lease, first_at, bound) then
    return {'too_late', now}
  end
  leased_at, held_for = now_text, lease
elseif operation == 'checkpoint' and in_progress then
  body = args.body
elseif operation == 'mark_unknown' and in_progress then
  state = UNKNOWN
elseif operation == 'mark_unknown' and unknown then
  return {'already_stored', now}
else
  return {'superseded', now, stored()}
end

if not body then
  body = redis.call('GETRANGE', key, header_length, '-1')
  if #body ~= tonumber(length) then
    return {'unreadable', now}
  end
end
if operation == 'look' then
  return {'absent', now}
end
local kept_for = retention
if state == IN_PROGRESS or state == UNKNOWN then
  -- A claim that runs no script derives the end of the lease from the expiry. So a write that keeps the lease, such as a
  -- checkpoint, keeps the expiry.
  finished_at, kept_for = NEVER, retention + math.max(leased_at + held_for - now, 0)
end
local next_rev = string.format('%010d', rev + 1)
local text = record(state, owner, attempt, next_rev, leased_at, held_for, bound, first_at, finished_at, took_over, asked, body)
-- A counter may have outgrown its width.
if #text ~= HEADER + #body then
  return {'unreadable', now}
end
redis.call('SET', key, text, 'PX', kept_for)
if operation == 'claim' then
  return {'claimed', now, text}
end
return {'stored', now}
