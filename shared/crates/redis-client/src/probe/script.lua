-- Runs on the probe's key the same commands as the idempotency scripts run on theirs. A user who lacks the permission
-- for one of them fails the probe.
-- KEYS: the probe's key. ARGV: value, time to live in milliseconds. Returns the value read.
local key, value, ttl_ms = KEYS[1], ARGV[1], ARGV[2]
redis.call('TIME')
redis.call('SET', key, value, 'PX', ttl_ms)
redis.call('STRLEN', key)
redis.call('GETRANGE', key, '0', '-1')
return redis.call('GET', key)
