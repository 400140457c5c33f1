"""Adds up what nobody reads from rows (`tasks.domain.figures`), in one hash for all processes.

What is added waits in the process for a second and then goes out at once, by a thread of its own: whoever counts waits
for nothing, and however much is counted, it is a trip to Redis a second and process. A process that dies takes with it
what it had not sent, and a wipe of Redis begins all sums anew: what has to be exact is in the ledger.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from redis import Redis, RedisError

from tasks.domain.figures import Count, Spread

from . import keys

TOGETHER_S: Final = 1.0
"""So long does what is counted wait for more."""


class Tally:
    """Safe to use from many threads; one a process, made after the fork."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._lock = threading.Lock()
        self._waiting: Counter[str] = Counter()
        self._is_to_be_sent = False

    def add(self, what: Count, *labels: str, amount: int = 1) -> None:
        """Add to a count, in its smallest unit."""
        self._add([(what.field(*labels), amount)])

    def took(self, what: Spread, took_s: Sequence[float], *labels: str) -> None:
        """Note how long each of some took."""
        if took_s:
            self._add(what.fields(took_s, *labels))

    def send(self) -> None:
        """Send what waits now. Raises `PulseError`: then it waits on, and may be counted twice if Redis did get it."""
        with self._lock:
            taken, self._waiting, self._is_to_be_sent = self._waiting, Counter(), False
        if not taken:
            return
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for field, amount in taken.items():
                    pipe.hincrby(keys.TALLY, field, amount)
                pipe.execute(raise_on_error=False)  # what is wrong with one sum is not to hold the others up
        except RedisError:
            with self._lock:
                self._waiting.update(taken)
            raise

    def _add(self, amounts: Iterable[tuple[str, int]]) -> None:
        with self._lock:
            for field, amount in amounts:
                self._waiting[field] += amount
            if self._is_to_be_sent:
                return
            self._is_to_be_sent = True
        timer = threading.Timer(TOGETHER_S, self._send)
        timer.daemon = True
        timer.start()

    def _send(self) -> None:
        with suppress(RedisError):  # it goes with what is counted next
            self.send()
