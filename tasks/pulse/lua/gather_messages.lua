-- Move Celery messages that ask for a film from their queues to the request stream, the oldest first.
--   KEYS[1]  request stream    KEYS[2]  the door's own queue (list)    KEYS[3...]  queues that others use too
--   ARGV[1]  name of the task    ARGV[2]  how many at most from each queue
-- Returns how many were moved. In the door's own queue all messages are taken, so that one that nobody can read is put
-- aside with its reason; in others only those of the task. Atomic because a message must not be on neither side: what a
-- Celery worker has popped and not finished dies with it.
local moved = 0
for n = 2, #KEYS do
  local messages = redis.call('LRANGE', KEYS[n], -ARGV[2], -1)
  for i = #messages, 1, -1 do
    local ours = n == 2
    if not ours then
      local readable, message = pcall(cjson.decode, messages[i])
      ours = readable and type(message) == 'table' and type(message['headers']) == 'table'
        and message['headers']['task'] == ARGV[1]
    end
    if ours then
      redis.call('LREM', KEYS[n], -1, messages[i])
      redis.call('XADD', KEYS[1], '*', 'v', '1', 'celery', messages[i])
      moved = moved + 1
    end
  end
end
return moved
