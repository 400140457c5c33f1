-- Mark the timetable as whole, if nothing happened since its refill began.
--   KEYS[1]  token of the refill under way    KEYS[2]  marker of a whole timetable
--   ARGV[1]  token of the caller's refill
-- Returns 1, or 0 when Redis was wiped or another refill began. Atomic because a wipe in between must not be missed.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], 1)
return 1
