-- Put generating jobs on the timetable that are not there yet.
--   KEYS[1]  timetable (sorted set)
--   ARGV[1]  prefix of the look hashes    then sixes: job, delay in seconds, task, key, created (epoch seconds), kind
-- Returns how many were new. A job that is there keeps its time: the sweep may call this for all of them, at any moment.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local new = 0
for i = 2, #ARGV, 6 do
  local due = now + tonumber(ARGV[i + 1])
  if redis.call('ZADD', KEYS[1], 'NX', due, ARGV[i]) == 1 then
    local look = ARGV[1] .. ARGV[i]
    redis.call('HSET', look, 'task', ARGV[i + 2], 'key', ARGV[i + 3], 'created', ARGV[i + 4], 'kind', ARGV[i + 5], 'due', due)
    new = new + 1
  end
end
return new
