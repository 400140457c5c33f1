-- Put generating jobs on the timetable that are not there yet.
--   KEYS[1]  timetable (sorted set)    KEYS[2]  what is known of each (hash)
--   ARGV     threes, of a job each: job, delay in seconds, what is known
-- Returns how many were new. A job that is there keeps its time: the sweep may call this for all of them, at any moment.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local jobs = {}
for i = 1, #ARGV, 3 do jobs[#jobs + 1] = ARGV[i] end
local new, known = {}, {}
for n, there in ipairs(redis.call('ZMSCORE', KEYS[1], unpack(jobs))) do
  if not there then
    new[#new + 1] = now + tonumber(ARGV[3 * n - 1])
    new[#new + 1] = jobs[n]
    known[#known + 1] = jobs[n]
    known[#known + 1] = ARGV[3 * n]
  end
end
if #new > 0 then
  redis.call('ZADD', KEYS[1], unpack(new))
  redis.call('HSET', KEYS[2], unpack(known))
end
return #new / 2
