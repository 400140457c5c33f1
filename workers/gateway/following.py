"""Waits for jobs on behalf of callers. By looking at the ledger, so that it needs nothing else; each wait takes one of
the server's threads, so there are only so many.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from schemas.jobs import TERMINAL, JobEvent, State
from tasks.context import Context
from tasks.ledger import LedgerError
from tasks.ledger.resources import events_after, version_of

_LOOK_S: Final = 0.3
_SIGN_S: Final = 10.0
"""A stream says something this often, so that whoever stands between does not take it for dead."""


class Waits:
    """Hands out the right to wait: to at most so many at a time."""

    def __init__(self, most: int) -> None:
        self._free = threading.Semaphore(most)

    def take(self) -> bool:
        """Whether there was one to be had. Whoever got one gives it back."""
        return self._free.acquire(blocking=False)

    def give_back(self) -> None:
        """Let somebody else wait."""
        self._free.release()


def until_ended(ctx: Context, tenant: str, job_id: str, for_s: float) -> None:
    """Wait until a job has ended, but for no longer than so many seconds."""
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        with suppress(LedgerError):  # the job is committed: a wait that fails must not make it look as if it were not
            with ctx.ledger.read() as tx:
                found = version_of(tx, tenant, job_id)
            if found is None or found[1] in TERMINAL:
                return
        time.sleep(min(_LOOK_S, max(0.0, until - time.monotonic())))


def events(ctx: Context, tenant: str, job_id: str, after: int, for_s: float) -> Iterator[JobEvent | None]:
    """A job's changes after that of number `after`, as they happen, until it has ended or `for_s` seconds are over.

    `None` now and then: nothing has happened, or the ledger does not answer.
    """
    until, signed_at, version = time.monotonic() + for_s, time.monotonic(), after
    while time.monotonic() < until:
        new: list[JobEvent] = []
        state: State | None = None
        try:
            with ctx.ledger.read() as tx:
                found = version_of(tx, tenant, job_id)
                if found is None:
                    return
                state = found[1]
                if found[0] > version:
                    new = events_after(tx, job_id, version)
        except LedgerError:  # it will be back; what has happened meanwhile is told then
            pass
        for event in new:
            version = event.seq
            yield event
        if state in TERMINAL:
            return
        if time.monotonic() - signed_at >= _SIGN_S:
            signed_at = time.monotonic()
            yield None
        time.sleep(_LOOK_S)
