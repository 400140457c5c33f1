"""What one look at a provider task costs, all in, and how many of them one core gives."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tasks.pulse.keys import TIMETABLE_WHOLE, VIEWS_REFILL
from tests.bench import engines, fill
from tests.bench.figures import Finding, Measured, Row, at_least, at_most, ratio
from tests.bench.floor import client, floor_ms
from tests.bench.group import Group, Place
from tests.bench.processes import MEASURED_CORES, aside, cpu_s, pin
from tests.bench.stack import Reelworks, polled_every, reelworks
from tests.bench.stand import Stand, more, stand
from tests.support.waiting import wait_until

_ROWS = (
    Row("cpu_poll_vs_baseline", "times", at_most(0.02), "baseline's poll task"),
    Row("cpu_poll_vs_floor", "times", at_most(3), "HTTP and JSON alone, same client"),
    Row("polls_per_s_one_core", "times", at_least(50), "baseline on one core"),
    Row("redis_commands_poll", "commands", at_most(1), "all clients, counted within scripts too"),
)


@dataclass(frozen=True)
class Spell:
    """Some seconds of nothing but polls."""

    polls_s: float
    cpu_ms_poll: float
    commands_poll: float
    provider_share: float


def _measure(place: Place) -> Mapping[str, Finding]:
    with aside(), crowded(place, "ours") as (made, worker):
        ours = place.kept["polls"] = spells(place, made, worker)
        floor = [floor_ms(made.provider, place.scale.pick(5000, 1000)) for _ in range(place.scale.repeats)]
    with aside(), _baseline(place) as (made, worker):
        theirs = spells(place, made, worker)
    cpu, their_cpu = [each.cpu_ms_poll for each in ours], [each.cpu_ms_poll for each in theirs]
    rates, their_rates = [each.polls_s for each in ours], [each.polls_s for each in theirs]
    shown = f"{Measured(cpu).value * 1000:,.0f} µs against "
    return {
        "cpu_poll_vs_baseline": ratio(cpu, their_cpu, f"{shown}{Measured(their_cpu).value * 1000:,.0f} µs"),
        "cpu_poll_vs_floor": ratio(cpu, floor, f"{shown}{Measured(floor).value * 1000:,.0f} µs by {client()}"),
        "polls_per_s_one_core": ratio(
            rates,
            their_rates,
            f"{Measured(rates).value:,.0f}/s against {Measured(their_rates).value:,.0f}/s; the worker had "
            f"{Measured([each.polls_s * each.cpu_ms_poll / 1000 for each in ours]).value:.0%} of its core, the "
            f"provider used {Measured([each.provider_share for each in ours]).value:.0%} of another",
        ),
        "redis_commands_poll": Measured([each.commands_poll for each in ours]),
    }


@contextmanager
def crowded(place: Place, name: str, *, far: bool = False, interval_s: float = 0.1) -> Iterator[tuple[Stand, int]]:
    """One lanes worker with, at such a short interval, more to ask than it can."""
    with held(place, name, place.scale.pick(5000, 2000), polled_every(interval_s), far=far) as (made, running):
        yield made, running.pids("lanes")[0]


@contextmanager
def held(
    place: Place, name: str, number: int, settings: Mapping[str, str], *, far: bool = False
) -> Iterator[tuple[Stand, Reelworks]]:
    """A lanes worker, alone, which so many jobs are generating for that never complete; ready when it polls them.

    `far`: the provider is 50 ms away, behind TLS.
    """
    with stand(place.sub(name), tls=far, away_ms=50 * far) as made:
        database = made.folder / "ledger.db"
        fill.held_jobs(database, number, spread_s=float(settings["REELWORKS_POLL_FIRST_S"]))
        with reelworks(made, settings, only=("lanes",), database_url=f"sqlite:///{database}") as running:
            wait_until(lambda: _filled(made), within_s=120 + number / 200, what="the timetable's refill")
            yield made, running


def _filled(made: Stand) -> bool:
    """The timetable is whole and nobody publishes what a wipe took, which an empty Redis looks like."""
    return bool(made.redis.exists(TIMETABLE_WHOLE)) and not made.redis.exists(VIEWS_REFILL)


@contextmanager
def _baseline(place: Place) -> Iterator[tuple[Stand, int]]:
    with stand(place.sub("baseline")) as made, engines.baseline(made, 0.1, feeds="polls") as engine:
        engine.feed(place.scale.pick(500, 200))
        yield made, engine.pids()[0]


def spells(place: Place, made: Stand, worker: int) -> list[Spell]:
    """As many as there are repeats, once polls have begun and the worker is alone on its core."""
    pin([worker], MEASURED_CORES)
    begun = made.provider.counts()["polls"]
    wait_until(lambda: made.provider.counts()["polls"] > begun + 100, within_s=60, what="polls")
    return [_spell(made, worker, float(place.scale.pick(10, 3))) for _ in range(place.scale.repeats)]


def _spell(made: Stand, worker: int, for_s: float) -> Spell:
    def now() -> tuple[float, float, float, int, dict[str, int]]:
        seen = made.provider.counts()["polls"]
        return time.perf_counter(), cpu_s([worker]), cpu_s([made.provider.pid]), seen, made.commands()

    at, cpu, provider_cpu, polls, commands = now()
    time.sleep(for_s)
    at_end, cpu_end, provider_cpu_end, polls_end, commands_end = now()
    taken_s, done = at_end - at, max(1, polls_end - polls)
    return Spell(
        done / taken_s,
        (cpu_end - cpu) * 1000 / done,
        sum(more(commands, commands_end).values()) / done,
        (provider_cpu_end - provider_cpu) / taken_s,
    )


GROUP = Group("polls", _ROWS, _measure)
