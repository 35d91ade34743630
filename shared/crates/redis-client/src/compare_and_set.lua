-- Sets a value if the stored value is the expected one, for servers without SET IFEQ.
--
-- KEYS[1]  the key
-- args     expected   the value to replace
--          value      the new value
--          option     PX, PXAT or KEEPTTL; without it, the new value does not expire
--          ms         the milliseconds of PX or PXAT
-- Replies  OK, or nil if the key has another value or no value

if redis.call('GET', KEYS[1]) ~= args.expected then
  return false
elseif args.ms then
  return redis.call('SET', KEYS[1], args.value, args.option, args.ms)
elseif args.option then
  return redis.call('SET', KEYS[1], args.value, args.option)
end
return redis.call('SET', KEYS[1], args.value)
