"""When to look at a provider task next: the poll schedule, a pure function of what is known. Refuses clocks and I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class PollPolicy:
    """The schedule's settings, all in seconds."""

    first_s: float = 10.0
    """From the create to the first look: nothing finishes sooner."""
    interval_s: float = 5.0
    overdue_after_s: float = 1800.0
    """From here on a task is overdue: looked at more slowly, and still delivered if it comes."""
    overdue_interval_s: float = 60.0
    lost_after_s: float = 900.0
    """For how long the provider may say that it has no such task before that is believed."""
    jitter: float = 0.1
    """Share of each delay by which looks are spread, so that jobs created together are not polled together for ever."""


_LONGEST_DOUBLING: Final = 8


def next_look_s(
    policy: PollPolicy, *, age_s: float, polls: int, retry_after_s: float | None, spread: float, misses: int = 0
) -> float:
    """Seconds until the next look at a task.

    `age_s` is the time since its create, `polls` how often it was looked at, `misses` how many looks in a row said
    nothing about it, this one included: from the second on the delay doubles, up to the overdue one. `retry_after_s` is
    what the provider asked for (`None`: nothing), and `spread` a number in [0, 1) that the caller draws, so that the
    function stays pure.
    """
    if polls == 0:
        delay_s = policy.first_s
    elif age_s >= policy.overdue_after_s:
        delay_s = policy.overdue_interval_s
    else:
        delay_s = policy.interval_s
    doublings = min(max(misses - 1, 0), _LONGEST_DOUBLING)
    delay_s = min(delay_s * 2.0**doublings, max(delay_s, policy.overdue_interval_s))
    delay_s *= 1 + policy.jitter * (2 * spread - 1)
    return max(delay_s, retry_after_s or 0.0)
