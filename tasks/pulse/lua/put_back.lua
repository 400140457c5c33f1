-- Put looked-at jobs back on the timetable, each with its delay, its count of looks and what the look brought.
--   KEYS[1]  timetable (sorted set)
--   ARGV[1]  prefix of the look hashes    then sevens: job, delay in seconds, progress ("" leaves it as it was), looks
--            in a row that said nothing, 1 if this one said that there is no such task, the task's age at this look and
--            its progress then if it was found running (else ""), 0 if nobody looked: then only the time changes
-- Returns nothing. A script because the due times are Redis' own clock.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
for i = 2, #ARGV, 7 do
  local due = now + tonumber(ARGV[i + 1])
  local look = ARGV[1] .. ARGV[i]
  -- Whoever finished the job meanwhile has dropped it; it is not to come back.
  if redis.call('ZADD', KEYS[1], 'XX', 'CH', due, ARGV[i]) == 1 then
    local fields = {'due', due}
    local function set(name, value)
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
    if ARGV[i + 6] == '1' then
      redis.call('HINCRBY', look, 'polls', 1)
      if ARGV[i + 2] ~= '' then set('progress', ARGV[i + 2]) end
      if ARGV[i + 5] ~= '' then set('looked', ARGV[i + 5]) end
      if ARGV[i + 3] == '0' then
        redis.call('HDEL', look, 'misses', 'missing')
      else
        set('misses', ARGV[i + 3])
        -- Since the first time: other kinds of silence in between do not begin it anew.
        if ARGV[i + 4] == '1' then redis.call('HSETNX', look, 'missing', now) end
      end
    end
    redis.call('HSET', look, unpack(fields))
  end
end
