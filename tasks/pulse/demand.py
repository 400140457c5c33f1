"""Whether work waits for slots: then each second that an end is seen late is one in which its slot is not used."""

from __future__ import annotations

import time
from typing import Final

from redis import Redis

from . import keys

_HOLDS_S: Final = 5
_READ_EVERY_S: Final = 1.0


class Demand:
    """Said by whoever fills slots, for a few seconds each time; read by whoever plans looks."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._read: tuple[float, bool] | None = None

    def say(self) -> None:
        """Jobs wait, and no slot is free."""
        self._redis.set(keys.DEMAND, 1, ex=_HOLDS_S)

    def is_there(self) -> bool:
        """Whether that was said lately, as it was a moment ago."""
        if self._read is None or time.monotonic() - self._read[0] >= _READ_EVERY_S:
            self._read = time.monotonic(), bool(self._redis.exists(keys.DEMAND))
        return self._read[1]
