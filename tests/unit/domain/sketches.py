"""Sketches, and what is known by them, for the tests of this room."""

from __future__ import annotations

from tasks.domain.knowledge import PROGRESS, Kind, Known
from tasks.domain.polling import PollPolicy
from tasks.domain.sketch import Sketch, shares_of

KIND = Kind("model", "768P", 6, 13)


def of(*quantities: float, sketch: Sketch | None = None) -> Sketch:
    """A sketch that has learned these, after what it knew."""
    made = sketch or Sketch()
    for each in quantities:
        made = made.with_one(shares_of(each, each, made))
    return made


def known_of(policy: PollPolicy, *times_s: float, ratios: tuple[float, ...] = (), work_waits: bool = False) -> Known:
    """What is known where tasks took these times, and progress was worth these ratios."""
    sketches = {KIND.names[1]: of(*times_s), PROGRESS: of(*ratios)}
    return Known(sketches, KIND, policy.bounds(work_waits=work_waits))
