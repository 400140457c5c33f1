-- Put looked-at jobs back on the timetable, each with its delay and what is known of it by now.
--   KEYS[1]  timetable (sorted set)    KEYS[2]  what is known of each (hash)
--   ARGV     threes: job, delay in seconds, what is known ("" leaves it as it was)
-- Returns nothing. A script because the due times are Redis' own clock, and because whoever finished a job meanwhile has
-- dropped it: it is not to come back.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local jobs = {}
for i = 1, #ARGV, 3 do jobs[#jobs + 1] = ARGV[i] end
local moved, known = {}, {}
for n, there in ipairs(redis.call('ZMSCORE', KEYS[1], unpack(jobs))) do
  if there then
    moved[#moved + 1] = now + tonumber(ARGV[3 * n - 1])
    moved[#moved + 1] = jobs[n]
    if ARGV[3 * n] ~= '' then
      known[#known + 1] = jobs[n]
      known[#known + 1] = ARGV[3 * n]
    end
  end
end
if #moved > 0 then redis.call('ZADD', KEYS[1], unpack(moved)) end
if #known > 0 then redis.call('HSET', KEYS[2], unpack(known)) end
