-- Keep a lane alive, if the caller is the lane that counts.
--   KEYS[1]  heartbeat    KEYS[2]  epoch
--   ARGV[1]  epoch of the caller    ARGV[2]  time to live of the heartbeat, milliseconds
-- Returns 1, or 0 when a newer lane was seeded or Redis was wiped: then the caller falls silent.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
