-- Claim jobs whose look is due, as a lease: their next look moves to now + lease, so that what a worker claimed and did
-- not put back falls due again by itself.
--   KEYS[1]  timetable (sorted set)    KEYS[2]  what is known of each (hash)
--   ARGV[1]  lease, seconds    ARGV[2]  how many at most
-- Returns, as JSON, now and a list of {job, when it was due, what is known: "" for nothing}; times in epoch seconds. JSON
-- because one text is read in a tenth of the time that a thousand take. Atomic because two lanes must not claim the same
-- job.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local jobs, moved = {}, {}
for i = 1, #due, 2 do
  jobs[#jobs + 1] = due[i]
  moved[#moved + 1] = now + tonumber(ARGV[1])
  moved[#moved + 1] = due[i]
end
local claimed = {}
if #jobs > 0 then
  local known = redis.call('HMGET', KEYS[2], unpack(jobs))
  for i, job in ipairs(jobs) do claimed[i] = {job, due[2 * i], known[i] or ''} end
  redis.call('ZADD', KEYS[1], unpack(moved))
end
return cjson.encode({string.format('%.6f', now), claimed})  -- as texts: its numbers are cut short
