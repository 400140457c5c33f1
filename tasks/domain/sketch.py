"""A small sketch of positive quantities: how often each size was seen lately. Pure.

A histogram over logarithmic bins that fades with every quantity it learns, so that a provider that has become slower is
known after a few dozen completions. Sketches add up, and what a version before has written stays readable.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

STEP: Final = 0.02
"""Width of a bin as a natural logarithm: each edge is 2 % above the one before. A change needs new keys in Redis."""
KEPT: Final = 1 - 1 / 256
"""What is left of every weight when one more quantity is learned: a sketch never weighs more than 256."""
LEFT_OVER: Final = 16.0
"""What a sketch weighs at most after so many surprises in a row on the same side (`STREAK`): a quantity among the
outermost twentieth. What changes all at once is known after a few dozen."""
STREAK: Final = 3
SURPRISING: Final = 0.05
CERTAIN: Final = 8.0
"""Below this weight nothing is surprising."""
LEAST_WEIGHT: Final = 0.002
"""A bin below it is forgotten."""

_LARGEST_BIN: Final = 600
_EVEN: Final = 0.04
"""Share of what was seen within an interval that is spread over all of it, whatever is known: what is known may be out
of date, and only this makes the next looks try."""
_FURTHEST_BACK: Final = 4.0


@dataclass(frozen=True, slots=True)
class Sketch:
    """Weights by bin, and how many quantities were ever learned (two sketches with the same number are the same).

    `streak`: how many surprises there were just now in a row, negative for those that were smaller than expected.
    """

    weights: Mapping[int, float] = field(default_factory=dict)
    learned: int = 0
    streak: int = 0

    @property
    def total(self) -> float:
        """The sum of all weights."""
        return sum(self.weights.values())

    def with_one(self, shares: Mapping[int, float]) -> Sketch:
        """The sketch after one more quantity, given as shares of bins (`shares_of`). `learn.lua` does the same."""
        total, kept = self.total, KEPT
        streak = self._streak_with(min(shares), max(shares), total)
        if abs(streak) >= STREAK:
            kept, streak = min(KEPT, LEFT_OVER / total), 0
        faded = {bin_: weight * kept for bin_, weight in self.weights.items() if weight * kept >= LEAST_WEIGHT}
        for bin_, share in shares.items():
            faded[bin_] = faded.get(bin_, 0.0) + share
        return Sketch(faded, self.learned + 1, streak)

    def _streak_with(self, lowest: int, highest: int, total: float) -> int:
        if total < CERTAIN:
            return 0
        if sum(weight for bin_, weight in self.weights.items() if bin_ >= lowest) < SURPRISING * total:
            return max(self.streak, 0) + 1
        if sum(weight for bin_, weight in self.weights.items() if bin_ <= highest) < SURPRISING * total:
            return min(self.streak, 0) - 1
        return 0

    def merged(self, other: Sketch) -> Sketch:
        """Both together, each with the weight it has."""
        both = dict(self.weights)
        for bin_, weight in other.weights.items():
            both[bin_] = both.get(bin_, 0.0) + weight
        return Sketch(both, self.learned + other.learned)

    def quantiles(self, parts: int) -> list[float]:
        """The edges of `parts` parts of equal weight, from the least to the largest quantity; empty without weight."""
        total = self.total
        if total <= 0:
            return []
        found: list[float] = []
        below = 0.0
        for bin_ in sorted(self.weights):
            weight = self.weights[bin_]
            if weight <= 0:
                continue
            low, high = edge(bin_), edge(bin_ + 1)
            while len(found) <= parts and total * len(found) / parts <= below + weight + 1e-9 * total:
                within = min(max((total * len(found) / parts - below) / weight, 0.0), 1.0)
                found.append(low + within * (high - low))
            below += weight
        return found

    def width(self) -> float:
        """How far apart the tenth and the ninetieth hundredth are, as a natural logarithm; infinite without weight."""
        tenths = self.quantiles(10)
        return math.log(tenths[9] / tenths[1]) if tenths else math.inf

    def to_json(self) -> str:
        """The sketch as Redis keeps it: one compact JSON object."""
        weights = {str(bin_): round(weight, 4) for bin_, weight in self.weights.items()}
        return json.dumps({"n": self.learned, "s": self.streak, "w": weights}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes | None) -> Sketch:
        """What `to_json` wrote; what can't be read is left out, for nothing depends on it."""
        try:
            raw = json.loads(text or "{}")
            weights = raw.get("w", {})
            return cls(dict(_readable(weights)), int(raw.get("n", 0)), int(raw.get("s", 0)))
        except (ValueError, TypeError, AttributeError, OverflowError):
            return cls()


def edge(bin_: int) -> float:
    """The lower edge of a bin."""
    return math.exp(bin_ * STEP)


def bin_of(quantity: float) -> int:
    """The bin that a quantity is in; what is beyond all bins is in the outermost."""
    bin_ = math.floor(math.log(max(quantity, 1e-9)) / STEP)
    return min(max(bin_, -_LARGEST_BIN), _LARGEST_BIN)


def shares_of(low: float, high: float, known: Sketch) -> dict[int, float]:
    """One quantity of which only an interval is known, as shares of bins that add up to 1.

    It goes to where others were seen in that interval, and a small share of it (`_EVEN`) evenly to all of the interval.
    """
    high = max(high, 1e-9)
    low = min(max(low, high / _FURTHEST_BACK), high)
    first, last = bin_of(low), bin_of(high)
    if first == last:
        return {first: 1.0}
    covered = {k: min(edge(k + 1), high) - max(edge(k), low) for k in range(first, last + 1)}
    seen = {k: known.weights.get(k, 0.0) * covered[k] / (edge(k + 1) - edge(k)) for k in covered}
    total = sum(seen.values())
    even = 1.0 if total <= 0 else _EVEN
    shares = {
        k: even * covered[k] / (high - low) + ((1 - even) * seen[k] / total if total > 0 else 0.0) for k in covered
    }
    return {k: share for k, share in shares.items() if share > 0}


def _readable(weights: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
    for bin_, weight in weights.items():
        if abs(int(bin_)) <= _LARGEST_BIN and math.isfinite(weight) and weight > 0:
            yield int(bin_), float(weight)
