-- Does to the probe's key what the scripts of idempotency do to theirs, so that a user who may not do it is found out.
-- KEYS: the key; ARGV: its value, the milliseconds that it lives. Returns the value.
redis.call('TIME')
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('STRLEN', KEYS[1])
redis.call('GETRANGE', KEYS[1], '0', '-1')
return redis.call('GET', KEYS[1])
