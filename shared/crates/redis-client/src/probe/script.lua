-- Runs the commands of the idempotency scripts on the probe's key. If the user lacks the permission for one of these
-- commands, the probe fails.
-- KEYS: the probe's key. Arguments: `value`, and its time to live, `ttl_ms`. Returns the value read.
local key = KEYS[1]
redis.call('TIME')
redis.call('SET', key, args.value, 'PX', args.ttl_ms)
redis.call('STRLEN', key)
redis.call('PTTL', key)
redis.call('PEXPIRETIME', key)
redis.call('GETRANGE', key, '0', '-1')
return redis.call('GET', key)
