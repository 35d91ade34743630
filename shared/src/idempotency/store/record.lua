-- One operation on one record, decided in one step by the clock of the server. The rules are those of decision.rs.
--
-- KEYS[1]  the record: a header of fixed width, then the checkpoint or the saved response (record/text.rs)
-- ARGV     1 the operation    2 the owner, fresh for every claim    3 the window    4 the fingerprint
--          5 the policy's bound    6 the lease    7 the attempt, or to settle the rev    8 what follows the header
-- Answers  a verdict, the server's time, and where it is of use the record, or when the lease ends
--
-- All times and durations are milliseconds. What is finished expires a window after that was written, anything else a window
-- after its lease, so that no claim is forgotten while its owner works.

local HEADER = 211
-- As text: a number that goes to a command is first printed, by way of floating point, and these are needed every time.
local HEADER_START, HEADER_END = '0', '210'
local FORMAT = 'tb1 %-11s %s %010d %010d %013d %07d %013d %013d %013d %d %s %08d\n'
local PATTERN = '^tb1 ([a-z_]+) *(%x+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) ([01]) (%x+) (%d+)\n$'

local key, operation, owner = KEYS[1], ARGV[1], ARGV[2]
local window, fingerprint, policy = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local lease, number, given = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A record that a claim leaves behind; `body` is what it keeps of the one before.
local function claimed(attempt, rev, bound, first_at, took_over, body)
  local header = string.format(FORMAT, 'in_progress', owner, attempt, rev, now, lease, bound, first_at, 0,
    took_over, fingerprint, #body)
  return header, header .. body
end

-- Whether the provider will still know the derived key when the lease ends.
local function may_run_again(bound, first_at)
  return bound > 0 and now + lease < first_at + bound
end

local header = redis.pcall('GETRANGE', key, HEADER_START, HEADER_END)
if type(header) ~= 'string' then
  return {'unreadable', now}
end

if header == '' then
  local text
  local kept_for = window
  if operation == 'claim' then
    header, text = claimed(1, 1, policy, now, 0, '')
    kept_for = window + lease
  elseif operation == 'complete' then
    -- The store has lost the claim. The result is kept all the same: it happened.
    text = string.format(FORMAT, 'completed', owner, number, 1, now, lease, policy, now, now, 0, fingerprint,
      #given) .. given
  else
    return {'absent', now}
  end
  -- An empty value looks like none, and is not a record.
  if not redis.call('SET', key, text, 'PX', kept_for, 'NX') then
    return {'unreadable', now}
  end
  if operation == 'claim' then
    return {'started', now, header}
  end
  return {'done', now}
end

local state, holder, attempt, rev, leased_at, held_for, bound, first_at, finished_at, took_over, asked, length =
  string.match(header, PATTERN)
local in_progress, unknown = state == 'in_progress', state == 'unknown'
local completed, released = state == 'completed', state == 'released'
if not (in_progress or unknown or completed or released) or redis.call('STRLEN', key) ~= HEADER + length then
  return {'unreadable', now}
end
attempt, rev, leased_at, held_for = tonumber(attempt), tonumber(rev), tonumber(leased_at), tonumber(held_for)
bound, first_at, finished_at, took_over = tonumber(bound), tonumber(first_at), tonumber(finished_at), tonumber(took_over)

local function body()
  return redis.call('GETRANGE', key, HEADER, -1)
end

local lease_end = leased_at + held_for

if operation == 'read' then
  return {'found', now, redis.call('GET', key)}
end

if operation == 'claim' or operation == 'look' then
  local kept
  if (completed or released) and now >= finished_at + window then
    kept, bound, first_at, took_over = '', policy, now, 0
  elseif in_progress and holder == owner and asked == fingerprint then
    return {'repeated', now, redis.call('GET', key)}
  elseif released and holder == owner then
    return {'in_progress', now, now}
  elseif released then
    kept, bound, took_over = body(), policy, 0
  elseif asked ~= fingerprint then
    return {'mismatch', now}
  elseif completed then
    return {'replay', now, redis.call('GET', key)}
  elseif in_progress and now < lease_end then
    return {'in_progress', now, lease_end}
  else
    bound = math.min(bound, policy)
    if not may_run_again(bound, first_at) then
      return {'unknown', now}
    end
    kept, took_over = body(), 1
  end
  if operation == 'look' then
    return {'absent', now}
  end
  local _, text = claimed(attempt + 1, rev + 1, bound, first_at, took_over, kept)
  redis.call('SET', key, text, 'PX', window + lease)
  return {'started', now, text}
end

-- What follows is for the owner, or for a reconciler that names the rev it has read.
local function write(next_state, next_owner, ended_at, doubt, kept)
  local text = string.format(FORMAT, next_state, next_owner, attempt, rev + 1, leased_at, held_for, bound, first_at,
    ended_at, doubt, asked, #kept) .. kept
  redis.call('SET', key, text, 'PX', ended_at > 0 and window or window + held_for)
  return {'done', now}
end

local function superseded()
  return {'superseded', now, redis.call('GET', key)}
end

if operation == 'settle_completed' or operation == 'settle_released' then
  if rev ~= number or completed or released then
    return superseded()
  end
  if operation == 'settle_completed' then
    return write('completed', owner, now, 0, given)
  end
  if in_progress and now < lease_end then
    return superseded()
  end
  return write('released', owner, now, 0, body())
end

if holder ~= owner or attempt ~= number then
  return superseded()
end

if operation == 'complete' then
  if in_progress or unknown then
    return write('completed', owner, now, took_over, given)
  elseif completed then
    return {'already', now, redis.call('GET', key)}
  end
elseif operation == 'release' then
  -- The word of who took over is not the word of the attempt before: its request may still take effect.
  if in_progress and took_over == 1 then
    return write('unknown', owner, 0, took_over, body())
  elseif in_progress then
    return write('released', owner, now, took_over, body())
  elseif released or (unknown and took_over == 1) then
    return {'already', now}
  end
elseif operation == 'renew' and in_progress then
  if took_over == 1 and not may_run_again(bound, first_at) then
    return {'too_late', now}
  end
  leased_at, held_for = now, lease
  return write('in_progress', owner, 0, took_over, body())
elseif operation == 'checkpoint' and in_progress then
  return write('in_progress', owner, 0, took_over, given)
elseif operation == 'mark_unknown' then
  if in_progress then
    return write('unknown', owner, 0, took_over, body())
  elseif unknown then
    return {'already', now}
  end
end
return superseded()
