"""When to look at a provider task next: the poll schedule, a pure function of what is known. Refuses clocks and I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

from .knowledge import Known
from .lookplan import Bounds


@dataclass(frozen=True, slots=True)
class PollPolicy:
    """The schedule's settings, all in seconds. What has been learned places the looks within them."""

    first_s: float = 10.0
    """From the create to the first look: nothing finishes sooner."""
    interval_s: float = 5.0
    """Between two looks while nothing is known. Learned plans take their measure from it: see `bounds`."""
    overdue_after_s: float = 1800.0
    """From here on a task is overdue: looked at more slowly, and still delivered if it comes."""
    overdue_interval_s: float = 60.0
    lost_after_s: float = 900.0
    """For how long the provider may say that it has no such task before that is believed."""
    jitter: float = 0.1
    """Share of each delay by which looks are spread, so that jobs created together are not polled together for ever."""

    def bounds(self, *, work_waits: bool = False) -> Bounds:
        """What a learned plan keeps to: an end is seen within half an interval, and three of them are the longest.

        While work waits for slots it is also seen within a small share of the time that such tasks take: as much of a
        slot is not used else.
        """
        return _bounds(self.interval_s, _LAG_WHILE_WORK_WAITS if work_waits else math.inf)


@cache
def _bounds(interval_s: float, share: float) -> Bounds:
    return Bounds(interval_s * _LAG, interval_s * _LONGEST, share)


_LAG: Final = 0.5
_LAG_WHILE_WORK_WAITS: Final = 0.015
_LONGEST: Final = 3.0
_SHORTEST: Final = 0.1
_LONGEST_DOUBLING: Final = 8


def next_look_s(
    policy: PollPolicy,
    *,
    age_s: float,
    polls: int,
    retry_after_s: float | None,
    spread: float,
    misses: int = 0,
    known: Known | None = None,
    progress: float | None = None,
    slowed: float = 1.0,
) -> float:
    """Seconds until the next look at a task.

    `age_s` is the time since its create, `polls` how often it was looked at, `misses` how many looks in a row said
    nothing about it, this one included: from the second on the delay doubles, up to the overdue one. `retry_after_s` is
    what the provider asked for (`None`: nothing), and `spread` a number in [0, 1) that the caller draws, so that the
    function stays pure.

    `known` is what has been learned of how long such tasks take, `progress` what the provider reported just now, if it
    is more than before. `slowed` is how many times as long as else to wait: all looks of a key slow down together.
    """
    delay_s = _planned_s(policy, age_s, polls, spread, known, progress)
    if misses or delay_s is None:
        delay_s = _fixed_s(policy, age_s, polls, spread)
    doublings = min(max(misses - 1, 0), _LONGEST_DOUBLING)
    delay_s = min(delay_s * 2.0**doublings * slowed, max(delay_s, policy.overdue_interval_s))
    return max(delay_s, retry_after_s or 0.0)


def _fixed_s(policy: PollPolicy, age_s: float, polls: int, spread: float) -> float:
    """Where nothing is known, or a look has told nothing."""
    spread_by = 1 + policy.jitter * (2 * spread - 1)
    if polls == 0:
        return max(0.0, policy.first_s * spread_by - age_s)
    return (policy.overdue_interval_s if age_s >= policy.overdue_after_s else policy.interval_s) * spread_by


def _planned_s(
    policy: PollPolicy, age_s: float, polls: int, spread: float, known: Known | None, progress: float | None
) -> float | None:
    """By what is known; `None` without it. It is spread to later alone: a look that comes too early is a look more."""
    if known is None or age_s >= policy.overdue_after_s:
        return None
    # Of a task that was never looked at it is not known that it has not ended.
    at_s = known.next_look_at_s(age_s if polls else 0.0, progress)
    if at_s is None:
        return None
    least_s = min(policy.interval_s * _SHORTEST, known.lag_s) if polls else 0.0
    delay_s = max(at_s - age_s, least_s) if polls else max(max(at_s, policy.first_s) - age_s, 0.0)
    return delay_s + policy.jitter * spread * min(delay_s, known.lag_s / _LAG)
