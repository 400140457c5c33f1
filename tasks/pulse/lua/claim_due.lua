-- Claim jobs whose look is due, as a lease: their next look moves to now + lease, so that what a worker claimed and did
-- not put back falls due again by itself.
--   KEYS[1]  timetable (sorted set)
--   ARGV[1]  lease, seconds    ARGV[2]  how many at most    ARGV[3]  prefix of the look hashes
-- Returns, as JSON, a list of {job, lateness, task, key, age, polls, misses, missing for, kind, looked}; times in seconds,
-- looked being age and progress at the last look that found it running; all but the first two are "" where nothing is
-- known. JSON because one text is read in a tenth of the time that a thousand take. Atomic because two lanes must not claim
-- the same job.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local function since(epoch)
  return epoch and tostring(now - tonumber(epoch)) or ''
end
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local claimed, moved = {}, {}
for i = 1, #due, 2 do
  local look = redis.call('HMGET', ARGV[3] .. due[i], 'task', 'key', 'created', 'polls', 'misses', 'missing', 'kind', 'looked')
  look[3], look[6] = since(look[3]), since(look[6])
  local row = {due[i], since(due[i + 1])}
  for field = 1, 8 do row[#row + 1] = look[field] or '' end
  claimed[#claimed + 1] = row
  moved[#moved + 1] = now + tonumber(ARGV[1])
  moved[#moved + 1] = due[i]
end
if #moved > 0 then redis.call('ZADD', KEYS[1], unpack(moved)) end
return cjson.encode(claimed)
