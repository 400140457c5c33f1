"""Where to look, given how long such tasks take: few looks, and seldom one that sees an end too late. Pure.

Some ends may be seen late. They are spent where waiting costs the fewest of them, where ends are rare for the time that
passes; everywhere else a look follows within the lag that is tolerated. That is the best there is for such a promise:
what is left out first is what spares the most looks for an end.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import Final

from .sketch import Sketch

_PARTS: Final = 16, 64
_A_PART: Final = 8.0
"""What is known is cut into parts of equal weight, so heavy at least, in which ends are taken to be spread evenly."""
_QUARTERS: Final = 4
_GAP: Final = 0.6
"""A quarter of a part that is longer, as a share of the part, is a gap."""
_LATE: Final = 0.04
"""Share of the ends that may be seen later than is tolerated."""
_AS_LONG_AGAIN: Final = 0.5
"""What is left out in between is left out for this share of the age at most, if it is more than the longest."""
_SHORT: Final = 0.25
"""A stretch that is this share of the tolerated lag is not halved any more."""
_FIRST_BEYOND: Final = 0.5
"""How soon one looks again when a task takes longer than any was seen to, as a share of the tolerated lag."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """In the sketch's unit. `lag`: within it an end is seen, seldom later. `longest`: the longest between two looks at
    what takes longer than any did. `share`: of what half of the tasks take, above which no lag is tolerated either."""

    lag: float
    longest: float
    share: float = math.inf

    def of(self, sketch: Sketch) -> Bounds:
        """These bounds for the tasks of a sketch that has weight."""
        return replace(self, lag=min(self.lag, self.share * sketch.quantiles(2)[1]))


class LookPlan:
    """For each point that a task may have passed without ending, the point to look at next."""

    __slots__ = ("_bounds", "_ends", "_last", "_starts")

    def __init__(self, sketch: Sketch, bounds: Bounds) -> None:
        """`sketch` must have weight."""
        pieces = _pieces(sketch)
        runs = _dense_runs(pieces, bounds.lag)
        self._bounds, self._last = bounds, pieces[-1][1]
        self._starts = [start for start, _ in runs]
        self._ends = [end for _, end in runs]

    def next_after(self, point: float) -> float:
        """Where to look next at a task that had not ended at `point`."""
        at = bisect_right(self._ends, point)
        if at == len(self._ends):
            # Nothing that was seen took so long: ever further apart, for the longer it lasts the less is known.
            beyond = max(point - self._last, self._bounds.lag * _FIRST_BEYOND)
            return point + min(beyond, self._bounds.longest)
        start, end, lag = self._starts[at], self._ends[at], self._bounds.lag
        # A short stretch is halved: a look within it makes known where in it the ends are.
        to = min(max(point, start) + min(lag, max((end - start) / 2, lag * _SHORT)), end)
        if at == 0:
            return to
        return min(to, point + max(self._bounds.longest, point * _AS_LONG_AGAIN))


def _dense_runs(pieces: list[tuple[float, float, float]], lag: float) -> list[tuple[float, float]]:
    """Where ends come so often that none of them may be seen late: the start and the end of each stretch."""
    waits, left = [], 1.0
    for low, high, share in pieces:
        # The time that is waited through there, by all that have not ended, for one end.
        waits.append((high - low) * (left - share / 2) / share)
        left -= share
    spare, left_out = _LATE + 1e-9, set()
    for n in sorted(range(len(pieces)), key=waits.__getitem__, reverse=True):
        spare -= pieces[n][2]
        if spare < 0:
            break
        left_out.add(n)
    runs: list[tuple[float, float]] = []
    for n, (low, high, _) in enumerate(pieces):
        if n in left_out:
            continue
        if runs and low - runs[-1][1] <= lag:
            runs[-1] = runs[-1][0], high
        else:
            runs.append((low, high))
    return runs


def _pieces(sketch: Sketch) -> list[tuple[float, float, float]]:
    """Start and end of stretches in which ends are taken to be spread evenly, and the share of the ends in each.

    Parts of equal weight; from one that is mostly a gap, as between two humps, the gap is told apart.
    """
    parts = max(_PARTS[0], min(_PARTS[1], round(sketch.total / _A_PART)))
    edges = sketch.quantiles(parts * _QUARTERS)
    pieces: list[tuple[float, float, float]] = []
    share = 1 / (parts * _QUARTERS)
    for part in range(0, parts * _QUARTERS, _QUARTERS):
        low, high = edges[part], edges[part + _QUARTERS]
        gap = max(range(part, part + _QUARTERS), key=lambda n: edges[n + 1] - edges[n])
        if edges[gap + 1] - edges[gap] <= _GAP * (high - low):
            pieces.append((low, high, share * _QUARTERS))
            continue
        before, after = gap - part, part + _QUARTERS - gap - 1
        pieces += [(low, edges[gap], share * before)] if before else []
        pieces.append((edges[gap], edges[gap + 1], share))
        pieces += [(edges[gap + 1], high, share * after)] if after else []
    return pieces
