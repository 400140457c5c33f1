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
    """Safe to use from many threads; one a process, made after the fork. Its thread begins with the first count."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._change = threading.Condition()
        self._waiting: Counter[str] = Counter()
        self._news = False
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, what: Count, *labels: str, amount: int = 1) -> None:
        """Add to a count, in its smallest unit."""
        self._add([(what.field(*labels), amount)])

    def took(self, what: Spread, took_s: Sequence[float], *labels: str) -> None:
        """Note how long each of some took."""
        if took_s:
            self._add(what.fields(took_s, *labels))

    def send(self) -> None:
        """Send what waits now. Raises `PulseError`: then it waits on, and may be counted twice if Redis did get it."""
        with self._change:
            taken, self._waiting = self._waiting, Counter()
        if not taken:
            return
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for field, amount in taken.items():
                    pipe.hincrby(keys.TALLY, field, amount)
                pipe.execute(raise_on_error=False)  # what is wrong with one sum is not to hold the others up
        except RedisError:
            with self._change:
                self._waiting.update(taken)
            raise

    def close(self) -> None:
        """Send what waits, if Redis is there, and end the thread."""
        self._closed.set()
        with self._change:
            thread = self._thread
            self._change.notify()
        if thread is not None:
            thread.join()  # it may be sending; what it could not send is tried once more
        self._try_to_send()

    def _add(self, amounts: Iterable[tuple[str, int]]) -> None:
        with self._change:
            for field, amount in amounts:
                self._waiting[field] += amount
            self._news = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep_sending, name="tally", daemon=True)
                self._thread.start()
            self._change.notify()

    def _keep_sending(self) -> None:
        while not self._closed.is_set():
            with self._change:
                while not self._news and not self._closed.is_set():
                    self._change.wait()
                self._news = False
            self._closed.wait(TOGETHER_S)
            self._try_to_send()

    def _try_to_send(self) -> None:
        with suppress(RedisError):  # it goes with what is counted next
            self.send()
