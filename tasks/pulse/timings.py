"""What has been learned of how long tasks take: a hash a model, a sketch a field. Learned anew if it is lost.

Each process reads a kind's sketches every few seconds at most, and keeps the plans made of them for as long as nothing
was learned.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Final

from redis import Redis

from tasks.domain.knowledge import Deposit, Kind, Known
from tasks.domain.lookplan import Bounds
from tasks.domain.sketch import CERTAIN, KEPT, LEAST_WEIGHT, LEFT_OVER, STREAK, SURPRISING, Sketch

from . import keys
from .scripts import load

_READ_EVERY_S: Final = 5.0
_MOST_KINDS: Final = 2000


class Timings:
    """The sketches, by model."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._learn = load(redis, "learn")
        self._read: dict[tuple[Kind, Bounds], tuple[float, Known]] = {}

    def known(self, kind: Kind, bounds: Bounds) -> Known:
        """What is known of a kind, as it was a few seconds ago."""
        read = self._read.get((kind, bounds))
        if read is not None and time.monotonic() - read[0] < _READ_EVERY_S:
            return read[1]
        names = Known.names_of(kind)
        fields = self._redis.hmget(keys.times(kind.model), names)
        known = Known(
            {name: Sketch.from_json(text) for name, text in zip(names, fields, strict=True) if text}, kind, bounds
        )
        if read is not None and read[1].version == known.version:
            known = read[1]  # its plans are made already
        if len(self._read) >= _MOST_KINDS:
            self._read.clear()
        self._read[kind, bounds] = time.monotonic(), known
        return known

    def learn(self, model: str, deposits: Sequence[Deposit]) -> None:
        """Add what completions have shown to a model's sketches; all that was there before fades."""
        if deposits:
            made = json.dumps(
                [[name, {str(bin_): share for bin_, share in shares.items()}] for name, shares in deposits]
            )
            self._learn(
                keys=[keys.times(model)], args=[made, KEPT, LEAST_WEIGHT, CERTAIN, SURPRISING, STREAK, LEFT_OVER]
            )

    def seed(self, model: str, sketches: Mapping[str, Sketch]) -> None:
        """Put sketches where there are none."""
        with self._redis.pipeline(transaction=False) as pipe:
            for name, sketch in sketches.items():
                pipe.hsetnx(keys.times(model), name, sketch.to_json())
            pipe.execute()
