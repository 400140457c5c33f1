"""Many jobs in flight on one lanes worker: its memory, Redis' memory, and whether polls stay on time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import redis

from schemas import keys
from schemas.keys import TIMETABLE
from tests.bench.figures import Finding, Measured, Row, at_most, quantile
from tests.bench.group import Group, Place
from tests.bench.groups.polls import held, spells
from tests.bench.processes import MEASURED_CORES, aside, pin, rss_bytes
from tests.bench.stack import polled_every

_ROWS = (
    Row("in_flight_rss", "MB", at_most(60), "1,000 jobs in flight"),
    Row("in_flight_redis_bytes", "bytes a job", at_most(500), "1,000 jobs in flight"),
    Row("in_flight_lateness_p99", "s", at_most(1), "when each look was due, at 60 % of one core's rate"),
)
_FEW = 1000
_LOAD = 0.6
"""How much of what one core gave in this run is asked of it: on time is a question below its limit alone."""


@dataclass(frozen=True)
class Flight:
    """A worker with so many jobs in flight."""

    rss_mb: float
    redis_bytes: int
    polls_s: float
    late_p99_s: float = 0.0
    kinds: str = ""


def _measure(place: Place) -> Mapping[str, Finding]:
    number = place.scale.pick(100_000, 10_000)
    few: list[Flight] = []
    many: list[Flight] = []
    for turn in range(place.scale.pick(3, 1)):
        few.append(_few(place, f"few{turn}"))
        place.say(f"flight: {_FEW:,} jobs, {few[-1].polls_s:,.0f} polls/s, RSS {few[-1].rss_mb:.0f} MB")
        many.append(_many(place, f"many{turn}", number, few[-1].polls_s))
        place.say(f"flight: {number:,} jobs, {many[-1].polls_s:,.0f} polls/s, RSS {many[-1].rss_mb:.0f} MB")
    rates = ", ".join(f"{each.polls_s:,.0f} polls/s" for each in many)
    return {
        "in_flight_rss": Measured(
            [b.rss_mb - a.rss_mb for a, b in zip(few, many, strict=True)],
            f"{number:,} jobs: {many[0].rss_mb:.0f} MB against {few[0].rss_mb:.0f} MB",
        ),
        "in_flight_redis_bytes": Measured(
            [(b.redis_bytes - a.redis_bytes) / (number - _FEW) for a, b in zip(few, many, strict=True)],
            f"all that Redis holds for a generating job: {many[0].kinds}, its place on the timetable",
        ),
        "in_flight_lateness_p99": Measured(
            [each.late_p99_s for each in many], f"{number:,} jobs, {rates}; the look that was most overdue, sampled"
        ),
    }


def _few(place: Place, name: str) -> Flight:
    """With more to ask than it can, so that it shows what one core gives."""
    with aside(), held(place, name, _FEW, polled_every(0.1)) as (made, running):
        worker = running.pids("lanes")[0]
        rates = [each.polls_s for each in spells(place, made, worker)]
        return Flight(rss_bytes([worker]) / 1e6, made.redis_bytes(), Measured(rates).value)


def _many(place: Place, name: str, number: int, polls_s: float) -> Flight:
    interval_s = max(1.0, number / (polls_s * _LOAD))
    with aside(), held(place, name, number, polled_every(interval_s)) as (made, running):
        worker = running.pids("lanes")[0]
        pin([worker], MEASURED_CORES)
        _catch_up(made.redis)
        polls, began_at = made.provider.counts()["polls"], time.perf_counter()
        late = _lateness(made.redis, float(place.scale.pick(60, 8)))
        rate = (made.provider.counts()["polls"] - polls) / (time.perf_counter() - began_at)
        return Flight(rss_bytes([worker]) / 1e6, made.redis_bytes(), rate, quantile(late, 0.99), _kinds(made.redis))


def _late_s(client: redis.Redis) -> float:
    """By how much the most overdue look that nobody has claimed is late."""
    with client.pipeline(transaction=True) as pipe:
        pipe.time()
        pipe.zrange(TIMETABLE, 0, 0, withscores=True)
        (seconds, micros), first = pipe.execute()
    return max(0.0, seconds + micros / 1e6 - float(first[0][1])) if first else 0.0


def _kinds(client: redis.Redis) -> str:
    """What one job takes."""
    noted = client.hget(keys.LOOKS, "held-0000001") or b""
    return f"what is noted of it {len(noted)}, its live view {client.memory_usage(keys.view('held-0000001'))}"


def _catch_up(client: redis.Redis) -> None:
    """Give it a minute to work off what fell due while the timetable was filled; if it can't, the figure says so."""
    until = time.monotonic() + 60
    while _late_s(client) > 0.2 and time.monotonic() < until:
        time.sleep(0.2)


def _lateness(client: redis.Redis, for_s: float) -> list[float]:
    until, found = time.monotonic() + for_s, []
    while time.monotonic() < until:
        found.append(_late_s(client))
        time.sleep(0.05)
    return found


GROUP = Group("flight", _ROWS, _measure)
