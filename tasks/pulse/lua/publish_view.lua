-- Set and publish a job's view, unless a newer one is there already.
--   KEYS[1]  the view's key, which is also its channel
--   ARGV[1]  the record (JSON)    ARGV[2]  its number of changes    ARGV[3]  time to live, seconds
-- Returns 1 when it was written. Atomic because two workers may show the same job at once, and the one that read the
-- ledger first must not have the last word.
local there = redis.call('GET', KEYS[1])
if there then
  local readable, record = pcall(cjson.decode, there)
  if readable and type(record) == 'table' and tonumber(record['seq'] or 0) > tonumber(ARGV[2]) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1
