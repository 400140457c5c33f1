-- Set and publish a job's view, unless a newer one is there already; and keep its place in its tenant's line.
--   KEYS[1]  the view's key, which is also its channel    KEYS[2]  the line (sorted set)
--   ARGV[1]  the record (JSON)    ARGV[2]  its number of changes    ARGV[3]  time to live, seconds
--   ARGV[4]  the job    ARGV[5]  its place in the line; empty: it waits in none
-- Returns 1 when it was written. Atomic because two workers may show the same job at once, and the one that read the
-- ledger first must not have the last word; the line says what the views say.
local there = redis.call('GET', KEYS[1])
local waited = true
if there then
  local readable, record = pcall(cjson.decode, there)
  if readable and type(record) == 'table' then
    if tonumber(record['seq'] or 0) > tonumber(ARGV[2]) then return 0 end
    waited = record['status'] == 'QUEUED'
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
redis.call('PUBLISH', KEYS[1], ARGV[1])
if ARGV[5] ~= '' then
  redis.call('ZADD', KEYS[2], ARGV[5], ARGV[4])
elseif waited then
  redis.call('ZREM', KEYS[2], ARGV[4])
end
return 1
