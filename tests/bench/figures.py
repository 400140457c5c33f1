"""What a figure is, and how it is judged: the median of its repeats against a target. Pure; measures nothing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Target:
    """What a figure is to reach."""

    kind: Literal["at least", "at most"]
    bound: float

    def met_by(self, value: float) -> bool:
        return value >= self.bound if self.kind == "at least" else value <= self.bound

    def __str__(self) -> str:
        return f"{self.kind} {self.bound:g}"


def at_least(bound: float) -> Target:
    return Target("at least", bound)


def at_most(bound: float) -> Target:
    return Target("at most", bound)


@dataclass(frozen=True)
class Row:
    """A line of the table, before anything is measured: so none can be missing from it."""

    name: str
    unit: str
    target: Target
    against: str


@dataclass(frozen=True)
class Measured:
    """What was found: a value a repeat, and in `note` what they were made of."""

    repeats: Sequence[float]
    note: str = ""

    @property
    def value(self) -> float:
        return statistics.median(self.repeats)

    @property
    def spread(self) -> float | None:
        """From the lowest repeat to the highest, as a share of the median; `None` where there is nothing to compare."""
        if len(self.repeats) < 2 or not self.value:
            return None
        return (max(self.repeats) - min(self.repeats)) / abs(self.value)


@dataclass(frozen=True)
class Unmeasured:
    """Why there is no figure."""

    reason: str


Finding = Measured | Unmeasured


@dataclass(frozen=True)
class Figure:
    """A line of the table with what was found."""

    row: Row
    found: Finding

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; `None` where there is no figure."""
        return self.row.target.met_by(self.found.value) if isinstance(self.found, Measured) else None

    @property
    def failed(self) -> bool:
        return isinstance(self.found, Unmeasured)

    def to_json(self) -> dict[str, Any]:
        row, found = self.row, self.found
        head = {"target": str(row.target), "met": self.met, "against": row.against, "unit": row.unit}
        if isinstance(found, Unmeasured):
            return {"value": None, **head, "repeats": [], "spread": None, "note": found.reason}
        return {
            "value": significant(found.value),
            **head,
            "repeats": [significant(each) for each in found.repeats],
            "spread": None if found.spread is None else round(found.spread, 3),
            "note": found.note,
        }


def figures(rows: Sequence[Row], found: Mapping[str, Finding]) -> list[Figure]:
    """A figure for each of the rows; what was not found says so. Raises ValueError for a finding without a row."""
    strangers = found.keys() - {row.name for row in rows}
    if strangers:
        raise ValueError(f"no row of the table is called {', '.join(sorted(strangers))}")
    return [Figure(row, found.get(row.name, Unmeasured("nothing was found"))) for row in rows]


def ratio(over: Sequence[float], under: Sequence[float], note: str = "") -> Finding:
    """`over` in terms of `under`, repeat by repeat, so that what slows both at once falls out.

    Where one has more repeats than the other, each is set against the other's median.
    """
    if not over or not under:
        return Unmeasured("one side of the comparison was not measured")
    if len(over) == len(under):
        pairs = list(zip(over, under, strict=True))
    elif len(over) > len(under):
        pairs = [(each, statistics.median(under)) for each in over]
    else:
        pairs = [(statistics.median(over), each) for each in under]
    if any(not math.isfinite(above) or not math.isfinite(below) or below <= 0 for above, below in pairs):
        return Unmeasured("one side of the comparison is nothing, or beyond all bounds")
    return Measured([above / below for above, below in pairs], note)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of the values does not exceed. Raises ValueError for no values."""
    if not values:
        raise ValueError("no values, no quantile")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def significant(value: float) -> float:
    """Rounded to four digits: the rest is noise."""
    return float(f"{value:.4g}")
