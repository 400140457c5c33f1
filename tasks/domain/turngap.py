"""How soon a tenant's next turn comes: what an estimate of a waiting job's start is made from. Pure."""

from __future__ import annotations

from typing import Final

_REMEMBERED: Final = 0.8
"""Share of what was known before that a further turn leaves."""


def turn_gap_s(before_s: float | None, since_s: float | None, *, turns: int, waited_s: float) -> float:
    """Seconds from one turn of a tenant to the next while it has jobs waiting, smoothed over some ten turns.

    `before_s` is the gap known before and `since_s` the time since the last turn, `None` before the first. In this
    round it had `turns`, the first of them after waiting for `waited_s` seconds: time in which nothing waited counts
    for nothing.
    """
    seen_s = max(0.0, waited_s if since_s is None else min(since_s, waited_s)) / turns
    if before_s is None:
        return seen_s
    old: float = _REMEMBERED**turns
    return old * before_s + (1 - old) * seen_s
