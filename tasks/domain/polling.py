"""When to look at a provider task next: the poll schedule, a pure function of what is known. Refuses clocks and I/O."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PollPolicy:
    """The schedule's settings, all in seconds."""

    first_s: float = 10.0
    """From the create to the first look: nothing finishes sooner."""
    interval_s: float = 5.0
    overdue_after_s: float = 1800.0
    """From here on a task is overdue: looked at more slowly, and still delivered if it comes."""
    overdue_interval_s: float = 60.0
    jitter: float = 0.1
    """Share of each delay by which looks are spread, so that jobs created together are not polled together for ever."""


def next_look_s(policy: PollPolicy, *, age_s: float, polls: int, retry_after_s: float | None, spread: float) -> float:
    """Seconds until the next look at a task.

    `age_s` is the time since its create, `polls` how often it was looked at, `retry_after_s` what the provider asked
    for (`None`: nothing), and `spread` a number in [0, 1) that the caller draws, so that the function stays pure.
    """
    if polls == 0:
        delay_s = policy.first_s
    elif age_s >= policy.overdue_after_s:
        delay_s = policy.overdue_interval_s
    else:
        delay_s = policy.interval_s
    delay_s *= 1 + policy.jitter * (2 * spread - 1)
    return max(delay_s, retry_after_s or 0.0)
