"""Reckons what pages draw: a job's phases on a line of time, amounts as bars. Pure; refuses to know HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final, Protocol

from schemas.jobs import State
from tasks.ledger.reports import CostRow

WIDTH: Final = 1000.0
"""The units from the left to the right end of a line of time, and of a bar."""
HEIGHT: Final = 100.0
_SEEN: Final = 3.0
"""What is there is at least so large: a moment, or a cent, does not vanish."""


class Phase(StrEnum):
    """What a job's time goes by with."""

    WAITING = "waiting"
    GENERATING = "generating"
    DOUBT = "in doubt"
    DOWNLOADING = "downloading"


_PHASE_OF: Final = {
    State.QUEUED: Phase.WAITING,
    State.ADMITTED: Phase.WAITING,
    State.CREATING: Phase.GENERATING,
    State.UNCERTAIN: Phase.DOUBT,
    State.GENERATING: Phase.GENERATING,
    State.DOWNLOADING: Phase.DOWNLOADING,
    State.RECORDING: Phase.DOWNLOADING,
}


class Change(Protocol):
    """A row of a timeline."""

    @property
    def state(self) -> State:
        """The state that it led to."""

    @property
    def at(self) -> datetime:
        """When it happened: aware, UTC."""


@dataclass(frozen=True, slots=True)
class Span:
    """A time that a job spent in one phase."""

    phase: Phase
    begin: datetime
    end: datetime

    @property
    def lasted_s(self) -> float:
        """How long it was, in seconds."""
        return (self.end - self.begin).total_seconds()


@dataclass(frozen=True, slots=True)
class Bar:
    """A span as it is drawn, in units of `WIDTH`."""

    phase: Phase
    x: float
    width: float
    lasted_s: float


@dataclass(frozen=True, slots=True)
class Column:
    """A day's amount as it is drawn: its height in units of `HEIGHT`."""

    day: str
    amount_usd: Decimal
    height: float


@dataclass(frozen=True, slots=True)
class Layer:
    """What was counted on a day of one kind, as it is drawn upon the others, in units of `HEIGHT` from above."""

    name: str
    count: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Stack:
    """A day's layers, the lowest first."""

    day: str
    layers: tuple[Layer, ...]


def spans(changes: Sequence[Change], now: datetime) -> tuple[Span, ...]:
    """The phases of a job, in their order; one that goes on ends `now`. Neighbours of one phase are one span."""
    found: list[Span] = []
    ends = [*(change.at for change in changes[1:]), now]
    for change, end in zip(changes, ends, strict=False):
        phase = _PHASE_OF.get(change.state)
        if phase is None:
            continue
        if found and found[-1].phase is phase and found[-1].end == change.at:
            found[-1] = Span(phase, found[-1].begin, max(end, change.at))
        else:
            found.append(Span(phase, change.at, max(end, change.at)))
    return tuple(found)


def lasted(phases: Iterable[Span]) -> dict[Phase, float]:
    """Seconds that went by in each phase, those that occur, in the order of `Phase`."""
    sums: dict[Phase, float] = {}
    for span in phases:
        sums[span.phase] = sums.get(span.phase, 0.0) + span.lasted_s
    return {phase: sums[phase] for phase in Phase if phase in sums}


def bars(phases: Iterable[Span], begin: datetime, end: datetime) -> tuple[Bar, ...]:
    """Spans on a line of time from `begin` to `end`."""
    whole_s = max((end - begin).total_seconds(), 0.001)

    def place(at: datetime) -> float:
        return min(max((at - begin).total_seconds() / whole_s * WIDTH, 0.0), WIDTH)

    drawn = []
    for span in phases:
        width = max(place(span.end) - place(span.begin), _SEEN)
        drawn.append(Bar(span.phase, round(min(place(span.begin), WIDTH - width), 2), round(width, 2), span.lasted_s))
    return tuple(drawn)


def share(amount: Decimal, largest: Decimal, whole: float = WIDTH) -> float:
    """How long a bar is for an amount, where `largest` takes the `whole`."""
    if amount <= 0 or largest <= 0:
        return 0.0
    return round(min(max(float(amount / largest) * whole, _SEEN), whole), 2)


def shares(rows: Sequence[CostRow]) -> list[tuple[CostRow, float]]:
    """Sums of charges, the dearest first, each with how long its bar is."""
    return [(row, share(row.amount_usd, rows[0].amount_usd)) for row in rows]


def columns(amounts: Mapping[str, Decimal], first: date, last: date) -> tuple[Column, ...]:
    """A column for each day from `first` to `last`, both included, of amounts by day (`YYYY-MM-DD`)."""
    days = [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]
    of_day = {day: amounts.get(day, Decimal(0)) for day in days}
    largest = max(of_day.values(), default=Decimal(0))
    return tuple(Column(day, amount, share(amount, largest, HEIGHT)) for day, amount in of_day.items())


def stacks(counts: Mapping[str, Mapping[str, int]], first: date, last: date) -> tuple[Stack, ...]:
    """A stack for each day from `first` to `last`, both included, of counts by day (`YYYY-MM-DD`) and kind."""
    days = [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]
    largest = max((sum(counts.get(day, {}).values()) for day in days), default=0)
    return tuple(Stack(day, _layers(counts.get(day, {}), largest)) for day in days)


def _layers(counts: Mapping[str, int], largest: int) -> tuple[Layer, ...]:
    drawn, below = [], 0
    for name, count in counts.items():
        if count:
            height = count / largest * HEIGHT
            drawn.append(Layer(name, count, round(HEIGHT - below / largest * HEIGHT - height, 2), round(height, 2)))
            below += count
    return tuple(drawn)
