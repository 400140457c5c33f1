-- Mark the timetable as whole, if nothing happened since its refill began, and have the views published from the start.
--   KEYS[1]  token of the refill under way    KEYS[2]  marker of a whole timetable    KEYS[3]  how far the views are
--   ARGV[1]  token of the caller's refill
-- Returns 1, or 0 when Redis was wiped or another refill began. Atomic because a wipe in between must not be missed, and
-- because a whole timetable without the other key would mean that no view is missing.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[3], ARGV[1] .. ' ')
redis.call('SET', KEYS[2], 1)
return 1
