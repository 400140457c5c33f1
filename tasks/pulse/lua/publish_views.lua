-- Set and publish jobs' views, each unless a newer one is there already; and keep their places in their tenants' lines.
--   KEYS     pairs: the view's key, which is also its channel; the line (sorted set)
--   ARGV[1]  time to live, seconds    then fours, of a view each: the record (JSON), its number of changes, the job, its
--            place in the line (empty: it waits in none)
-- Returns how many were written. Atomic because two workers may show the same job at once, and the one that read the
-- ledger first must not have the last word; the line says what the views say.
local written = 0
for n = 1, #KEYS / 2 do
  local view, line = KEYS[2 * n - 1], KEYS[2 * n]
  local record, changes, job, place = ARGV[4 * n - 2], ARGV[4 * n - 1], ARGV[4 * n], ARGV[4 * n + 1]
  local there = redis.pcall('SET', view, record, 'EX', ARGV[1], 'GET')
  if type(there) == 'table' then  -- something else than a text, of a stranger's: it is not to stop the others
    redis.call('SET', view, record, 'EX', ARGV[1])
    there = nil
  end
  local waited, newer = true, false
  if there then
    local readable, known = pcall(cjson.decode, there)
    if readable and type(known) == 'table' then
      newer = (tonumber(known['seq']) or 0) > tonumber(changes)
      waited = known['status'] == 'QUEUED'
    end
  end
  if newer then
    redis.call('SET', view, there, 'EX', ARGV[1])
  else
    written = written + 1
    redis.call('PUBLISH', view, record)
    if place ~= '' then
      redis.call('ZADD', line, place, job)
    elseif waited then
      redis.call('ZREM', line, job)
    end
  end
end
return written
