"""What Redis keeps of the provider's calls: that there are some, and how many of late about each attempt."""

from __future__ import annotations

import time

from redis import Redis

from . import keys

_HEARD_S = 1800
_COUNTED_S = 10
_MOST = 10
_READ_S = 5.0


class Calls:
    """Refuses to know what the calls said."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._read: tuple[float, bool] = (-_READ_S, False)

    def is_welcome(self, attempt_id: str) -> bool:
        """Note a call about an attempt; false when there were too many of late."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.set(keys.called(attempt_id), 0, nx=True, ex=_COUNTED_S)
            pipe.incr(keys.called(attempt_id))
            pipe.set(keys.CALLS, "1", ex=_HEARD_S)
            _, count, _ = pipe.execute()
        return int(count) <= _MOST

    def are_heard(self) -> bool:
        """Whether the provider has called in the last half hour; asked of Redis every few seconds at most."""
        if time.monotonic() - self._read[0] >= _READ_S:
            self._read = time.monotonic(), bool(self._redis.exists(keys.CALLS))
        return self._read[1]
