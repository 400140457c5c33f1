"""What is known of how long a kind of task takes: which sketches tell it, and where it has one looked at. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from .lookplan import Bounds, LookPlan
from .sketch import Sketch, shares_of

_ENOUGH: Final = 8.0
"""Completions, faded ones for less: below it a sketch says nothing by itself."""
_LEAST_PROGRESS: Final = 0.05
_LEAST_AGE_S: Final = 0.01
_STAMP_S: Final = 1.0
"""By how much a time between two stamps of whole seconds may be off."""
_INFORMATIVE: Final = 0.5
"""Progress must make the time to the end known so much more narrowly than the times of others do."""
_SCALE: Final = math.log(1.15)
"""Foretold times that are so near to each other share a plan; only the price of a lag differs between them."""

Deposit = tuple[str, Mapping[int, float]]
"""The name of a sketch, and the shares of its bins in which one more quantity lies."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What decides how long a task takes: `model`, resolution and duration, and the hour (UTC) of its create."""

    model: str
    resolution: str | None
    duration_s: int | None
    hour: int

    @property
    def names(self) -> tuple[str, str, str]:
        """The names of its sketches, from the finest to the coarsest, within its model."""
        shape = f"{self.resolution or '-'}/{self.duration_s or '-'}"
        return f"{shape}@{self.hour}", shape, "any"

    def __str__(self) -> str:
        return f"{self.model} {self.names[0]}"

    @classmethod
    @lru_cache(maxsize=4096)
    def parse(cls, text: str) -> Kind | None:
        """What `str` gave; `None` for anything else, such as what a version before left empty."""
        try:
            model, name = text.rsplit(" ", 1)
            shape, hour = name.split("@")
            resolution, duration_s = shape.split("/")
            return cls(
                model,
                None if resolution == "-" else resolution,
                None if duration_s == "-" else int(duration_s),
                int(hour),
            )
        except ValueError:
            return None


PROGRESS: Final = "progress"
"""Name of the sketch of what progress was worth: time to the end, as a share of what linear progress foretold."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A completion: it came after `low_s` and at `high_s` at the latest, counted from the create.

    `progress`: what the provider reported at `looked_s`, the age at the last look that found it running; `None` if that
    tells nothing.
    """

    low_s: float
    high_s: float
    looked_s: float = 0.0
    progress: float | None = None

    @classmethod
    def between(cls, looked_s: float, ended_s: float, took_s: float | None, progress: float | None) -> Seen:
        """A completion between two looks. `took_s`: by the provider's own stamps, whole seconds, if it gave any.

        Stamps that contradict the looks are not believed.
        """
        low_s, high_s = looked_s, ended_s
        if took_s is not None and took_s + _STAMP_S > looked_s and took_s - _STAMP_S < ended_s:
            low_s, high_s = max(looked_s, took_s - _STAMP_S), min(ended_s, took_s + _STAMP_S)
        return cls(low_s, high_s, looked_s, progress if _tells(looked_s, progress) else None)


def _tells(age_s: float, progress: float | None) -> bool:
    return progress is not None and _LEAST_PROGRESS <= progress < 1 and age_s >= _LEAST_AGE_S


class Known:
    """What is known of one kind. It never changes, so plans are made when they are first asked for, and kept."""

    def __init__(self, sketches: Mapping[str, Sketch], kind: Kind, bounds: Bounds) -> None:
        """`sketches`: by name, of the kind's model. `bounds`, in seconds, are those of its plans."""
        self._sketches = {name: sketches.get(name, Sketch()) for name in self.names_of(kind)}
        self._kind = kind
        self._times = self._blend()
        self._ratios = self._sketches[PROGRESS]
        self._informative = (
            self._times is not None
            and self._ratios.total >= _ENOUGH
            and self._ratios.width() <= _INFORMATIVE * self._times.width()
        )
        self._bounds = bounds if self._times is None else bounds.of(self._times)
        self._by_ratio: dict[int, LookPlan] = {}

    @staticmethod
    def names_of(kind: Kind) -> tuple[str, ...]:
        """The names of all sketches of which something may be known about a kind."""
        return (*kind.names, PROGRESS)

    @property
    def version(self) -> tuple[int, ...]:
        """Equal for what was made of the same sketches."""
        return tuple(sketch.learned for sketch in self._sketches.values())

    @property
    def lag_s(self) -> float:
        """How late an end may be seen."""
        return self._bounds.lag

    @property
    def mostly_ended_s(self) -> float | None:
        """The age by which nineteen in twenty of such tasks have ended; `None` where nothing is known."""
        return None if self._times is None else self._times.quantiles(20)[19]

    @cached_property
    def _by_time(self) -> LookPlan | None:
        return None if self._times is None else LookPlan(self._times, self._bounds)

    def next_look_at_s(self, age_s: float, progress: float | None) -> float | None:
        """The age at which to look at a task that had not ended at `age_s`; `None` where nothing is known.

        `progress`: reported at `age_s`, and more than before: what stands still foretells nothing.
        """
        if self._by_time is None:
            return None
        if self._informative and progress is not None and _tells(age_s, progress):
            foretold_s = age_s / progress
            return foretold_s * self._ratio_plan(foretold_s).next_after(progress)
        return self._by_time.next_after(age_s)

    def deposits(self, seen: Iterable[Seen]) -> list[Deposit]:
        """What these completions add to which sketches."""
        made: list[Deposit] = []
        for each in seen:
            made += [(name, shares_of(each.low_s, each.high_s, self._sketches[name])) for name in self._kind.names]
            if each.progress is not None:
                a_second = each.progress / each.looked_s
                made.append((PROGRESS, shares_of(a_second * each.low_s, a_second * each.high_s, self._ratios)))
        return made

    def _blend(self) -> Sketch | None:
        """The finest that is known with the coarser one that is the more up to date; the coarsest only without them."""
        hour, shape, model = (self._sketches[name] for name in self._kind.names)
        if shape.total >= _ENOUGH:
            return shape.merged(hour) if hour.total >= _ENOUGH else shape
        return model if model.total >= _ENOUGH else None

    def _ratio_plan(self, foretold_s: float) -> LookPlan:
        scale = round(math.log(foretold_s) / _SCALE)
        plan = self._by_ratio.get(scale)
        if plan is None:
            unit_s = math.exp(scale * _SCALE)
            bounds = Bounds(self._bounds.lag / unit_s, self._bounds.longest / unit_s)
            plan = self._by_ratio[scale] = LookPlan(self._ratios, bounds)
        return plan
