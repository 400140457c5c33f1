-- Move Celery messages that ask for a film from their queues to the request stream, the oldest first.
--   KEYS[1]  request stream    KEYS[2]  the door's own queue (list)    KEYS[3]  how far others were looked through (hash)
--   KEYS[4...]  queues that others use too
--   ARGV[1]  name of the task    ARGV[2]  how many are looked at in each queue
-- Returns how many were moved. In the door's own queue all messages are taken, so that one that nobody can read is put
-- aside with its reason; in others only those of the task. Where the oldest are all somebody else's, and nobody takes
-- them, the newer ones are looked through as well, some more at each call: else ours behind them would wait for good.
-- Atomic because a message must not be on neither side: what a Celery worker has popped and not finished dies with it.
local limit = tonumber(ARGV[2])

local named = '"task"%s*:%s*"' .. string.gsub(ARGV[1], '%p', '%%%0') .. '"'

-- What cjson can't read (half a surrogate pair, for one) others may: what names the task is put aside with its reason.
local function is_ours(raw)
  local readable, message = pcall(cjson.decode, raw)
  if not readable then
    return string.find(raw, named) ~= nil
  end
  return type(message) == 'table' and type(message['headers']) == 'table' and message['headers']['task'] == ARGV[1]
end

-- Looks at `limit` messages after the `skipped` oldest; gives how many it moved, and how many there were.
local function take(queue, skipped, everything)
  local messages, moved = redis.call('LRANGE', queue, -(skipped + limit), -(skipped + 1)), 0
  for i = #messages, 1, -1 do
    if everything or is_ours(messages[i]) then
      redis.call('LREM', queue, -1, messages[i])
      redis.call('XADD', KEYS[1], '*', 'v', '1', 'celery', messages[i])
      moved = moved + 1
    end
  end
  return moved, #messages
end

local moved = take(KEYS[2], 0, true)
for n = 4, #KEYS do
  local found, seen = take(KEYS[n], 0, false)
  if found == 0 and seen == limit then
    local skipped = tonumber(redis.call('HGET', KEYS[3], KEYS[n])) or limit
    found, seen = take(KEYS[n], skipped, false)
    redis.call('HSET', KEYS[3], KEYS[n], seen < limit and limit or skipped + limit - found)
  end
  moved = moved + found
end
return moved
