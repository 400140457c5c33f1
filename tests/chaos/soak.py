"""The soak: the chaos run's stack under a steady rate of jobs for hours, with workers killed now and then.

Owns the question whether memory is flat: each part and Redis are measured once a minute, and over the second half of
the run none may grow by more than `GROWTH_BOUND`. So in the second half only children of a pool are killed: the
processes that are measured live through it. The simulator keeps all its tasks in memory by design; it is shown, not
judged.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import psutil
import redis

from schemas.jobs import TERMINAL
from tests.chaos.orders import Order
from tests.chaos.plan import Blow, Plan, Scale
from tests.chaos.run import standing
from tests.chaos.stage import WORKERS, Stage

GROWTH_BOUND: Final = 0.10
"""How much of its size in the middle of the run a part may have grown by at the end."""
_FLOOR_MB: Final = 8.0
"""Growth below this is noise: allocators take and give back by megabytes."""
KILL_EVERY_S: Final = 20.0
_MB: Final = 1024 * 1024


def soak_plan(seed: int, hours: float, rate: float) -> Plan:
    """Jobs at an even rate without faults, and a kill of a random worker every `KILL_EVERY_S` seconds."""
    window_s = hours * 3600
    count = int(window_s * rate)
    orders = tuple(Order(n, "plain", 0, n / rate, None, twice=False) for n in range(count))
    die = random.Random(f"{seed}:soak")
    kills = int(window_s / KILL_EVERY_S)
    blows = tuple(
        Blow((n + 0.5) * KILL_EVERY_S, "kill", die.choice(WORKERS) if n < kills / 2 else "finish child")
        for n in range(kills)
    )
    scale = Scale(count, window_s, fuses=0, kills=kills, wipes=0, broker_restarts=0, freezes=0, refusals=0)
    return Plan(seed, scale, orders, blows)


Sizes = dict[str, float]
"""Megabytes by part."""


class Minutes:
    """Measures every `every_s` seconds, and says so in a line. Call it as often as you like."""

    def __init__(self, say: Callable[[str], None], every_s: float) -> None:
        self.samples: list[tuple[float, Sizes]] = []
        self._say, self._every_s = say, every_s
        self._begun_at: float | None = None

    def __call__(self, stage: Stage) -> None:
        now_s = time.monotonic()
        if self._begun_at is None:
            self._begun_at = now_s
        elapsed_s = now_s - self._begun_at
        if elapsed_s >= self._every_s * (len(self.samples) + 1):
            sizes = measured(stage)
            self.samples.append((elapsed_s, sizes))
            self._say(minute_line(stage, sizes, elapsed_s))


def measured(stage: Stage) -> Sizes:
    """RSS of each part with its children, and what Redis itself says that it uses."""
    found: Sizes = {}
    for name, pid in stage.pids().items():
        if name != "supervisor":
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                family = [process, *process.children(recursive=True)]
                found[name] = sum(one.memory_info().rss for one in family) / _MB
    with suppress(redis.RedisError), redis.Redis.from_url(stage.redis_url, socket_timeout=3) as client:
        found["redis_used"] = client.info("memory")["used_memory"] / _MB
    return found


def growth_mb(samples: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, tuple[float, float]]:
    """By part: (size in the middle, growth from there to the end) of the line through the second half's samples."""
    half = samples[len(samples) // 2 :]
    found = {}
    for name in sorted({name for _, sizes in half for name in sizes}):
        points = [(at_s, sizes[name]) for at_s, sizes in half if name in sizes]
        if len(points) >= 3:
            begun, slope = _line(points)
            found[name] = (begun, slope * (points[-1][0] - points[0][0]))
    return found


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Least squares: the value at the first point, and the slope."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    return mean_y + slope * (points[0][0] - mean_x), slope


def grown(growth: Mapping[str, tuple[float, float]]) -> list[str]:
    """Sentences about the parts that are not flat."""
    return [
        f"{name} grew by {more:.1f} MB from {size:.1f} MB"
        for name, (size, more) in growth.items()
        if name != "simulator" and more > max(size * GROWTH_BOUND, _FLOOR_MB)
    ]


def minute_line(stage: Stage, sizes: Mapping[str, float], elapsed_s: float) -> str:
    """The line of one minute."""
    states = standing(stage)
    total = sum(states.values())
    still_open = total - sum(states.get(state, 0) for state in TERMINAL)
    rss = " ".join(f"{name}={size:.0f}" for name, size in sizes.items() if name != "redis_used")
    redis_mb = sizes.get("redis_used", float("nan"))
    figures = f"jobs={total} open={still_open} rss_mb: {rss} redis_used_memory_mb={redis_mb:.1f}"
    return f"soak: minute={elapsed_s / 60:.3g} {figures}"
