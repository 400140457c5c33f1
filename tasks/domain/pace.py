"""How many tasks a provider key may create now, and how many it may have open: pure functions of its row and the time.

Owns the key's pace: smooth, slowed at once when the provider throttles, and recovering by itself. Refuses clocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from .pauses import Pause, Scope

BURST_S: Final = 1.0
"""So much of the pace may be caught up at once: turns come a few times a second, not at every create's instant."""
_MINUTE_S: Final = 60.0
_RECOVERY_S: Final = 15.0
"""A slowed key's pace doubles in this time, until it is back at its own."""
_SETTLING_S: Final = 10.0
"""A key that was just slowed is not slowed again: what the provider counts is a minute, most of it from before."""
_OF_WHAT_WAS_TAKEN: Final = 0.75
_SLOWEST_PER_MINUTE: Final = 6.0
"""No slower by itself: that a key did little is no reason to do next to nothing. Retry-After says how long to wait."""
_DOUBLINGS_MOST: Final = 12


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """A provider key as the ledger knows it. Without a row of its own, a key has these defaults.

    `open_limit` and `creates_per_minute` are what a person has set (`None`: the settings' limit, no pace), `closed`
    that a person wants nothing new of it (until `closed_until`, if that is set). The rest is what the provider's
    answers have made of it.
    """

    alias: str
    open_limit: int | None = None
    creates_per_minute: float | None = None
    closed: bool = False
    paused_until: datetime | None = None
    pause_reason: str | None = None
    refusals: int = 0
    """How often in a row the provider refused the key itself: until a create is accepted, one at a time is tried."""
    slowed_at: datetime | None = None
    slowed_to: float | None = None
    """Creates a minute that were left when the provider last throttled the key, at `slowed_at`."""
    next_create_at: datetime | None = None
    """When the pace allows the next create; in the past: it has saved some up."""
    closed_at: datetime | None = None
    closed_by: str | None = None
    closed_reason: str | None = None
    closed_until: datetime | None = None

    def pause_by_person(self, now: datetime) -> Pause | None:
        """What a person has said of it, while that holds."""
        said = Pause(Scope.KEY, self.alias, self.closed_at, self.closed_by, self.closed_reason, self.closed_until)
        return said if self.closed and said.is_in_force(now) else None

    def is_paused(self, now: datetime) -> bool:
        """Whether the key takes nothing new at `now` (aware): by a person's word, or by the provider's answers."""
        resting = self.paused_until is not None and now < self.paused_until
        return resting or self.pause_by_person(now) is not None

    def pace_per_minute(self, now: datetime) -> float:
        """Creates a minute that are allowed now; infinite without a limit."""
        own = math.inf if self.creates_per_minute is None else self.creates_per_minute
        if self.slowed_at is None or self.slowed_to is None:
            return own
        doublings = (now - self.slowed_at).total_seconds() / _RECOVERY_S
        return own if doublings > _DOUBLINGS_MOST else min(own, self.slowed_to * 2.0 ** max(doublings, 0.0))


def free_slots(key: ProviderKey, now: datetime, *, open_tasks: int, beginning: int, open_limit: int) -> int:
    """How many jobs may be admitted to a key now.

    `open_tasks` of its slots are taken, of those `beginning` by jobs that have no task yet. `open_limit`: where the key
    has none of its own.
    """
    if key.is_paused(now):
        return 0
    free = max(0, (open_limit if key.open_limit is None else key.open_limit) - open_tasks)
    if key.refusals:
        free = min(free, max(0, 1 - beginning))  # the probe: others follow when it was accepted
    return min(free, _allowed(key, now))


def _gap_s(pace_per_minute: float) -> float:
    # Within any minute no more than the pace, with what may be caught up at its beginning.
    return (_MINUTE_S + BURST_S) / pace_per_minute


def _earliest(key: ProviderKey, now: datetime) -> datetime:
    saved = now - timedelta(seconds=BURST_S)
    return now if key.next_create_at is None else max(key.next_create_at, saved)


def _allowed(key: ProviderKey, now: datetime) -> int:
    pace = key.pace_per_minute(now)
    if math.isinf(pace):
        return 1_000_000
    since_s = (now - _earliest(key, now)).total_seconds()
    return 0 if since_s < 0 else math.floor(since_s / _gap_s(pace)) + 1


def after_creates(key: ProviderKey, now: datetime, creates: int) -> datetime | None:
    """`next_create_at` after so many creates now; `None` for a key without a pace."""
    pace = key.pace_per_minute(now)
    if math.isinf(pace):
        return None
    return _earliest(key, now) + timedelta(seconds=creates * _gap_s(pace))


def slowed_to(key: ProviderKey, now: datetime, begun_at: datetime, taken_per_minute: float) -> float | None:
    """Creates a minute that are left after the provider has throttled a create; `None`: it is slowed already.

    Half of its pace, and no more than three quarters of what the provider took in the last minute, which is where its
    limit was found. Not less for being throttled often: a pace that falls with each 429 faster than it recovers ends
    at next to nothing. `begun_at`: the create's; one that began when the key was just slowed says nothing new.
    """
    if key.slowed_at is not None and begun_at <= key.slowed_at + timedelta(seconds=_SETTLING_S):
        return None
    half = key.pace_per_minute(now) / 2
    return min(half, max(_OF_WHAT_WAS_TAKEN * taken_per_minute, _SLOWEST_PER_MINUTE))


def probe_after_s(first_s: float, refusals: int, longest_s: float) -> float:
    """How long a key that was refused so often in a row takes nothing: doubled each time, up to `longest_s`."""
    return min(first_s * 2.0 ** min(max(refusals - 1, 0), _DOUBLINGS_MOST), max(first_s, longest_s))
