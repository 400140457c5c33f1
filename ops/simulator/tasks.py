"""A task as the provider keeps it: its id, how long it takes, what it costs and where it stands.

Owns the law of latencies and the price list. Refuses to know HTTP, films or files on disk beyond their paths.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import random
import time
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Final

from .scenario import Plan
from .validation import Order, Picture

Kind = tuple[str, int]
"""Resolution and duration in seconds."""

_HAILUO_23_LATENCY_S: Final[dict[Kind, float]] = {("768P", 6): 150.0, ("768P", 10): 300.0, ("1080P", 6): 270.0}
MEDIAN_LATENCY_S: Final[dict[str, dict[Kind, float]]] = {
    "minimax_hailuo_02_i2v": {
        ("512P", 6): 60.0,
        ("512P", 10): 120.0,
        ("768P", 6): 150.0,
        ("768P", 10): 300.0,
        ("1080P", 6): 270.0,
    },
    "minimax_hailuo_23_t2v": _HAILUO_23_LATENCY_S,
    "minimax_hailuo_23_i2v": _HAILUO_23_LATENCY_S,
    "minimax_hailuo_23_fast_i2v": {("768P", 6): 75.0, ("768P", 10): 150.0, ("1080P", 6): 135.0},
    "minimax_i2v_01_live": {("720P", 6): 150.0},
}
"""By model, in simulated seconds."""
LATENCY_SIGMA: Final = 0.35
_HAILUO_23_USD: Final = {("768P", 6): Decimal("0.28"), ("768P", 10): Decimal("0.56"), ("1080P", 6): Decimal("0.49")}
PRICE_USD: Final[dict[str, dict[Kind, Decimal]]] = {
    "minimax_hailuo_02_i2v": {
        ("512P", 6): Decimal("0.10"),
        ("512P", 10): Decimal("0.15"),
        ("768P", 6): Decimal("0.28"),
        ("768P", 10): Decimal("0.56"),
        ("1080P", 6): Decimal("0.48"),
    },
    "minimax_hailuo_23_t2v": _HAILUO_23_USD,
    "minimax_hailuo_23_i2v": _HAILUO_23_USD,
    "minimax_hailuo_23_fast_i2v": {
        ("768P", 6): Decimal("0.19"),
        ("768P", 10): Decimal("0.32"),
        ("1080P", 6): Decimal("0.33"),
    },
    "minimax_i2v_01_live": {("720P", 6): Decimal("0.43")},
}
"""By model. Only those of the first are published by the provider; the others are from third-party price lists."""
PROGRESS_CAP: Final = 0.99
"""What a task shows that should have ended but has not: its film lags, or it never ends."""

_ID_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuv"


class TaskIds:
    """Makes ids of twenty base32hex characters: time, process and counter, so that a restart never repeats one."""

    def __init__(self) -> None:
        self._process = os.urandom(5)
        self._counter = itertools.count(int.from_bytes(os.urandom(2)))

    def next(self) -> str:
        """An id that was never given before."""
        count = (next(self._counter) % 2**24).to_bytes(3)
        number = int.from_bytes(int(time.time()).to_bytes(4) + self._process + count) << 4
        return "".join(_ID_ALPHABET[number >> shift & 31] for shift in range(95, -1, -5))


def latency_s(model: str, resolution: str, duration_s: int, seed: int, nth: int) -> float:
    """Simulated seconds that the `nth` task takes: log-normal around the median of its kind, repeatable by seed."""
    die = random.Random(f"{seed}:{nth}")  # noqa: S311 - a repeatable die, not a secret
    return MEDIAN_LATENCY_S[model][resolution, duration_s] * math.exp(die.gauss(0.0, LATENCY_SIGMA))


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One file to download: `name` is the last part of its URL."""

    name: str
    type: str
    path: Path
    content_type: str
    duration_s: float | None = None


@dataclass(slots=True, eq=False)
class Task:
    """One accepted create. `created_s` and `ended_s` are epoch seconds, `begun_s` is monotonic; `host` is the address
    under which the creator knows this server, `film` the name of the film that it ended with. `ended_polls` counts
    the polls that were to show its end."""

    id: str
    key: str
    order: Order = field(repr=False)
    plan: Plan
    latency_s: float
    host: str
    created_s: float
    begun_s: float
    status: str = "in_progress"
    ended_s: float | None = None
    cost_usd: Decimal | None = None
    error: tuple[object, str] | None = None
    film: str | None = None
    outputs: list[list[OutputFile]] = field(default_factory=list)
    ended_polls: int = 0
    poll_faults: int = 0
    output_faults: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    poll_head: bytes = b""
    poll_tail: bytes = b""

    def forget_pictures(self) -> None:
        """Lets go of the input pictures, megabytes each: tasks are kept, pictures need not be."""
        self.order = replace(self.order, first=None if self.order.first is None else Picture(), last=None)

    def next_poll_fault(self) -> str | None:
        """The fault that the poll at hand meets. Counts it."""
        plan = self.plan.poll
        if plan.fault is None or (plan.fault_times is not None and self.poll_faults >= plan.fault_times):
            return None
        self.poll_faults += 1
        return plan.fault

    def next_output_fault(self) -> str | None:
        """The fault that the download at hand meets. Counts it."""
        plan = self.plan.output
        if plan.fault is None or (plan.fault_times is not None and self.output_faults >= plan.fault_times):
            return None
        self.output_faults += 1
        return plan.fault

    def steps_back(self) -> bool:
        """Whether the poll at hand shows this ended task as in progress again. Counts it."""
        self.ended_polls += 1
        return 1 < self.ended_polls <= 1 + self.plan.poll.goes_back

    def progress(self, now_s: float, speed: float) -> float:
        """0..1 at a monotonic instant, as a task in progress shows it: rises with time and never gets to 1."""
        if self.plan.poll.never:
            return PROGRESS_CAP * (1 - math.exp(-(now_s - self.begun_s) * speed / self.latency_s))
        return min(PROGRESS_CAP, (now_s - self.begun_s) * speed / max(self.latency_s, 1e-6))
