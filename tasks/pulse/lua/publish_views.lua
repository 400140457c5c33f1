-- Set and publish jobs' views, each unless a newer one is there already; and keep their places in their tenants' lines.
--   KEYS     pairs: the view's key, which is also its channel; the line (sorted set)    and last the tally (hash)
--   ARGV[1]  time to live, seconds    then fives, of a view each: the record (JSON), its number of changes, the job, its
--            place in the line (empty: it waits in none), the field that counts its end (empty: it has not ended)
-- Returns how many were written. Atomic because two workers may show the same job at once, and the one that read the
-- ledger first must not have the last word; the line says what the views say. An end is counted where the view before it
-- was none, so that one that is shown again is counted once. What is wrong with the tally stops nobody (pcall).
local written, tally = 0, KEYS[#KEYS]
local ends = {SUCCESS = true, FAILURE = true, REVOKED = true}
for n = 1, (#KEYS - 1) / 2 do
  local view, line = KEYS[2 * n - 1], KEYS[2 * n]
  local record, changes, job, place, ended = unpack(ARGV, 5 * n - 3, 5 * n + 1)
  local there = redis.pcall('SET', view, record, 'EX', ARGV[1], 'GET')
  if type(there) == 'table' then  -- something else than a text, of a stranger's: it is not to stop the others
    redis.call('SET', view, record, 'EX', ARGV[1])
    there = nil
  end
  local waited, newer, went_on = true, false, false
  if there then
    local readable, known = pcall(cjson.decode, there)
    if readable and type(known) == 'table' then
      newer = (tonumber(known['seq']) or 0) > tonumber(changes)
      waited = known['status'] == 'QUEUED'
      went_on = not ends[known['status']]
    end
  end
  if newer then
    redis.call('SET', view, there, 'EX', ARGV[1])
  else
    written = written + 1
    redis.call('PUBLISH', view, record)
    if ended ~= '' and went_on then redis.pcall('HINCRBY', tally, ended, 1) end
    if place ~= '' then
      redis.call('ZADD', line, place, job)
    elseif waited then
      redis.call('ZREM', line, job)
    end
  end
end
return written
