-- Slow the looks at a key's tasks down once more.
--   KEYS[1]  the key's pressure (hash: until, rest_until; epoch seconds)
--   ARGV[1]  seconds to add    ARGV[2]  seconds from now at most    ARGV[3]  seconds in which nothing is to be asked
-- Returns nothing. Atomic because several lanes may be told so at once; a script because the times are Redis' own clock.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local there = redis.call('HMGET', KEYS[1], 'until', 'rest_until')
local slow = math.min(math.max(tonumber(there[1] or 0) or 0, now) + tonumber(ARGV[1]), now + tonumber(ARGV[2]))
local rest = math.max(tonumber(there[2] or 0) or 0, now + tonumber(ARGV[3]))
redis.call('HSET', KEYS[1], 'until', string.format('%.3f', slow), 'rest_until', string.format('%.3f', rest))
redis.call('EXPIRE', KEYS[1], math.ceil(math.max(slow, rest) - now) + 1)
