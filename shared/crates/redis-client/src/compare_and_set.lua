-- Sets a value if the stored value is the expected one, for servers without SET IFEQ.
--
-- KEYS[1] the key args expected the value to replace value the new value option PX or PXAT; without it, the new value
-- does not expire ms the milliseconds of the option Replies OK, or nil if the key has another value or no value

if redis.call('GET', KEYS[1]) ~= args.expected then
  return false
elseif args.option then
  return redis.call('SET', KEYS[1], args.value, args.option, args.ms)
end
return redis.call('SET', KEYS[1], args.value)
