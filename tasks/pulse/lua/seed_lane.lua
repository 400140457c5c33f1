-- Give a lane that has fallen silent a new epoch.
--   KEYS[1]  heartbeat    KEYS[2]  epoch
--   ARGV[1]  time to live of the heartbeat, milliseconds    ARGV[2]  what stands in it until the lane has taken a turn
-- Returns the new epoch as text, or "" when the lane is alive. Atomic because every worker looks after every lane.
-- An epoch is Redis' time in microseconds: a counter would begin anew after a wipe, and give a lane that is still on its
-- way the epoch of its successor.
if redis.call('EXISTS', KEYS[1]) == 1 then return '' end
local time = redis.call('TIME')
local epoch = time[1] .. string.format('%06d', tonumber(time[2]))
redis.call('SET', KEYS[2], epoch)
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1])
return epoch
