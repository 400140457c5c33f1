"""The check of `doctor` that compares this machine's clock with those of Redis, of the database and of the provider.

No instant of one host is compared with another's on a job's way; but deadlines, the days of budgets and the life of
signed links go by the clock of whoever looks at them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import redis

from tasks.ledger import LedgerError
from tasks.pulse import Pulse
from workers.cli.verdicts import Check, ok, warning
from workers.runtime import open_ledger
from workers.settings import Settings

_OFF_S: Final = 5.0


def clocks(pulse: Pulse | None, read: Settings, provider_s: float | None) -> Check:
    """`pulse` is None where Redis can't be asked; `provider_s`: how far the provider's clock is ahead, if it tells."""
    ahead: dict[str, float] = {}
    if pulse is not None:
        _compare(ahead, "redis", lambda: _of_redis(pulse))
    _compare(ahead, "database", lambda: _of_database(read))
    if provider_s is not None:
        ahead["provider"] = provider_s
    return clock_check(ahead)


def clock_check(ahead: Mapping[str, float]) -> Check:
    """`ahead`: by how many seconds each other clock is before this machine's; negative: behind it."""
    if not ahead:
        return ok("clock", "none to compare it with")
    off = {name: seconds for name, seconds in ahead.items() if abs(seconds) > _OFF_S}
    if off:
        told = ", ".join(
            f"{name} is {abs(seconds):.0f} s {'ahead' if seconds > 0 else 'behind'}" for name, seconds in off.items()
        )
        return warning("clock", told, "have every machine's clock kept by NTP: budgets' days and deadlines go by it")
    return ok("clock", f"within {_OFF_S:g} s of {', '.join(ahead)}")


def ahead_s(theirs: float, asked_at: float) -> float:
    """How far a clock, read at some time since `asked_at` by ours, is ahead; the way there is no difference."""
    return theirs - min(max(theirs, asked_at), time.time())


def _compare(ahead: dict[str, float], name: str, read: Callable[[], float | None]) -> None:
    """Who has no clock of its own, or does not answer (another check says so), is left out."""
    asked_at = time.time()
    with suppress(redis.RedisError, LedgerError):
        theirs = read()
        if theirs is not None:
            ahead[name] = ahead_s(theirs, asked_at)


def _of_redis(pulse: Pulse) -> float:
    seconds, microseconds = pulse.redis.time()
    return float(seconds) + float(microseconds) / 1e6


def _of_database(read: Settings) -> float | None:
    ledger = open_ledger(read)
    try:
        clock = ledger.server_clock()
    finally:
        ledger.close()
    return None if clock is None else clock.timestamp()
