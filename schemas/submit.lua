-- Submits a batch of requests: all of it, or nothing when an idempotency key in it belongs to another request.
--
-- KEYS[1]      the stream of requests
-- KEYS[1 + i]  the idempotency record of request i; the stream's own key when request i has no idempotency key
-- ARGV[1]      form of the stream entries (field `v`)
-- ARGV[2]      seconds for which an idempotency record is kept
-- ARGV[3]      the trace that the requests are part of (field `traceparent`); empty where they are part of none
-- ARGV[3i + 1 .. 3i + 3]  job id, request (JSON) and fingerprint of request i
-- Returns 0, or the number i of the first request whose key belongs to another one (then nothing was written).
--
-- Atomic, because between "is the key free?" and "it is mine" another producer could ask the same. The entry is written
-- before the record: were the second write refused, a repetition would add the same job again, which workers notice;
-- a record without its entry would lose the job.

local stream = KEYS[1]
local count = #KEYS - 1
local known = {}
for i = 1, count do
  if KEYS[1 + i] ~= stream then
    local fingerprint = redis.call('GET', KEYS[1 + i])
    if fingerprint then
      if fingerprint ~= ARGV[3 * i + 3] then
        return i
      end
      known[i] = true
    end
  end
end
for i = 1, count do
  if not known[i] then
    local entry = {'v', ARGV[1], 'job', ARGV[3 * i + 1], 'request', ARGV[3 * i + 2]}
    if ARGV[3] ~= '' then
      entry[7], entry[8] = 'traceparent', ARGV[3]
    end
    redis.call('XADD', stream, '*', unpack(entry))
    if KEYS[1 + i] ~= stream then
      redis.call('SET', KEYS[1 + i], ARGV[3 * i + 3], 'EX', ARGV[2])
    end
  end
end
return 0
