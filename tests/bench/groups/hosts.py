"""Two worker hosts against one, on work that the provider does not limit: all of a job's life but the waiting."""

from __future__ import annotations

from collections.abc import Mapping

from tests.bench.engines import Ours
from tests.bench.figures import Finding, Measured, Row, Unmeasured, at_least, ratio
from tests.bench.group import Group, Place
from tests.bench.life import live
from tests.bench.processes import CORES, pin
from tests.bench.stack import NO_LIMITS, Reelworks, polled_every, reelworks
from tests.bench.stand import stand
from tests.support.postgres import postgres_server

_ROWS = (Row("two_hosts", "times", at_least(1.8), "one host"),)
_NEEDED = 4
"""A core for each host, and two for what they share: the servers of Redis, PostgreSQL and the provider."""


def _measure(place: Place) -> Mapping[str, Finding]:
    if len(CORES) < _NEEDED:
        reason = f"two hosts and the servers they share need {_NEEDED} cores; this machine gives {len(CORES)}"
        return {"two_hosts": Unmeasured(reason, excused=True)}
    one, two = _rates(place, 1), _rates(place, 2)
    note = f"{Measured(two).value:.1f} jobs/s against {Measured(one).value:.1f}: each host on one core, PostgreSQL"
    return {"two_hosts": ratio(two, one, note)}


def _rates(place: Place, hosts: int) -> list[float]:
    """Jobs a second of jobs that the provider completes at once, each host on a core of its own."""
    number = place.scale.pick(500, 100)
    settings = {**NO_LIMITS, **polled_every(0.2)}
    with (
        stand(place.sub(f"hosts{hosts}")) as made,
        postgres_server() as database,
        reelworks(made, settings, hosts=hosts, database_url=database.url) as running,
    ):
        _pin(running, hosts)
        engine = Ours(running)
        live(engine, made, 10, 0.01, within_s=120)
        return [number / live(engine, made, number, 0.01, within_s=300).took_s for _ in range(3)]


def _pin(running: Reelworks, hosts: int) -> None:
    second = running.pids("lanes-2") + running.pids("create-2") + running.pids("finish-2")
    pin([pid for pid in running.pids() if pid not in second], CORES[:1])
    if hosts == 2:
        pin(second, CORES[1:2])


GROUP = Group("hosts", _ROWS, _measure)
