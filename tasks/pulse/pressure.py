"""Provider keys of which less is asked for now, after a 429: all looks at a key's tasks slow down together."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from redis import Redis

from . import keys
from .scripts import load

_HALVED_S: Final = 30.0
"""In this time the slowness of a key halves by itself; each 429 doubles it."""
_MOST_DOUBLINGS: Final = 3
_READ_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Pressure:
    """`slowed`: how many times as long as else to wait between looks. `rest_s`: for how long to ask nothing at all."""

    slowed: float = 1.0
    rest_s: float = 0.0


class KeyPressure:
    """Pressure by key alias. It ends by itself."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._slow = load(redis, "slow_key")
        self._read: dict[str, tuple[float, Pressure]] = {}

    def of(self, alias: str) -> Pressure:
        """The pressure on a key, as it was a moment ago."""
        read = self._read.get(alias)
        if read is not None and time.monotonic() - read[0] < _READ_EVERY_S:
            return read[1]
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.hmget(keys.key_pressure(alias), "until", "rest_until")
            (seconds, micros), (until, rest_until) = pipe.execute()
        now_s = seconds + micros / 1e6
        doublings = min(max(0.0, float(until or 0) - now_s) / _HALVED_S, _MOST_DOUBLINGS)
        pressure = Pressure(2.0**doublings, max(0.0, float(rest_until or 0) - now_s))
        self._read[alias] = time.monotonic(), pressure
        return pressure

    def slow(self, alias: str, rest_s: float = 0.0) -> None:
        """Look half as often at the tasks of a key, and not at all for `rest_s` seconds."""
        self._slow(keys=[keys.key_pressure(alias)], args=[_HALVED_S, _HALVED_S * _MOST_DOUBLINGS, rest_s])
        self._read.pop(alias, None)
