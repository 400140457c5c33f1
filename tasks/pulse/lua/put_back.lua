-- Put looked-at jobs back on the timetable, each with its delay, its count of looks and its progress.
--   KEYS[1]  timetable (sorted set)
--   ARGV[1]  prefix of the look hashes    then triples: job, delay in seconds, progress ("" leaves it as it was)
-- Returns nothing. A script because the due times are Redis' own clock.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
for i = 2, #ARGV, 3 do
  local due = now + tonumber(ARGV[i + 1])
  local look = ARGV[1] .. ARGV[i]
  -- Whoever finished the job meanwhile has dropped it; it is not to come back.
  if redis.call('ZADD', KEYS[1], 'XX', 'CH', due, ARGV[i]) == 1 then
    redis.call('HINCRBY', look, 'polls', 1)
    if ARGV[i + 2] == '' then
      redis.call('HSET', look, 'due', due)
    else
      redis.call('HSET', look, 'due', due, 'progress', ARGV[i + 2])
    end
  end
end
