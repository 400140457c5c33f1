"""A group of figures: the rows it promises, and how it measures them at a scale."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure, Finding, Row, Unmeasured, figures


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    quick: bool

    def pick(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    @property
    def repeats(self) -> int:
        return self.pick(5, 3)


@dataclass(frozen=True)
class Place:
    """Where a group measures: an empty folder of its own, and whom it tells how far it is."""

    folder: Path
    scale: Scale
    wanted: Collection[str]
    say: Callable[[str], None]
    kept: dict[str, Any] = field(default_factory=dict)
    """What an earlier group of the same run measured that a later one can be set against."""

    def sub(self, name: str) -> Path:
        """A new folder within."""
        made = self.folder / name
        made.mkdir(parents=True)
        return made


@dataclass(frozen=True)
class Group:
    """`measure` gives what it found by the names of `rows`; what it leaves out was not measured."""

    name: str
    rows: tuple[Row, ...]
    measure: Callable[[Place], Mapping[str, Finding]]

    def run(self, place: Place) -> list[Figure]:
        """All figures of the group; whatever goes wrong becomes a reason beside each of them."""
        try:
            found: Mapping[str, Finding] = self.measure(place)
        except Exception as error:  # noqa: BLE001 (the others are measured all the same)
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            place.say(f"{self.name}: {reason}")
            found = {row.name: Unmeasured(reason) for row in self.rows}
        return [each for each in figures(self.rows, found) if each.row.name in place.wanted]
