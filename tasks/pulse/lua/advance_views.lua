-- Note how far the views have been published again since a refill.
--   KEYS[1]  the refill's token and how far it is
--   ARGV[1]  what the caller found there    ARGV[2]  what is to stand there now; empty: all is done
-- Returns 1, or 0 when Redis was wiped or somebody else went on. Atomic because the place of an old refill must not become
-- that of one which began after another wipe.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2]) end
return 1
