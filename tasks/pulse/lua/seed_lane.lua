-- Give a lane that has fallen silent a new epoch.
--   KEYS[1]  heartbeat    KEYS[2]  epoch counter
--   ARGV[1]  time to live of the heartbeat, milliseconds
-- Returns the new epoch, or 0 when the lane is alive. Atomic because every worker looks after every lane.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local epoch = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], epoch, 'PX', ARGV[1])
return epoch
