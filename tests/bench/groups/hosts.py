"""Two worker hosts against one, on work that the provider does not limit: all of a job's life but its generation.

Where there is a core for each host beside those of what they share, each has one, and is bounded by it. On fewer cores
the provider is far away: what bounds a host then is how much it has under way at a time, and cores are left over.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.bench.engines import Ours
from tests.bench.figures import Finding, Measured, Row, at_least, ratio
from tests.bench.group import Group, Place
from tests.bench.life import live
from tests.bench.processes import CORES, pin
from tests.bench.stack import NO_LIMITS, Reelworks, polled_every, reelworks
from tests.bench.stand import stand
from tests.support.postgres import postgres_server

_ROWS = (Row("two_hosts", "times", at_least(1.8), "one host"),)
_NEEDED = 4
"""A core for each host, and two for what they share: the servers of Redis, PostgreSQL and the provider."""
_AWAY_MS = 500.0


def _measure(place: Place) -> Mapping[str, Finding]:
    one, two = _rates(place, 1), _rates(place, 2)
    how = "each host on one core" if _has_cores() else f"{len(CORES)} cores, the provider {_AWAY_MS:g} ms away"
    note = f"{Measured(two).value:.1f} jobs/s against {Measured(one).value:.1f}: {how}, PostgreSQL"
    return {"two_hosts": ratio(two, one, note)}


def _has_cores() -> bool:
    return len(CORES) >= _NEEDED


def _rates(place: Place, hosts: int) -> list[float]:
    """Jobs a second of jobs that the provider completes at once."""
    number = place.scale.pick(500, 100) if _has_cores() else place.scale.pick(200, 40) * hosts
    settings = {**NO_LIMITS, **polled_every(0.2)}
    with (
        stand(place.sub(f"hosts{hosts}"), away_ms=0.0 if _has_cores() else _AWAY_MS) as made,
        postgres_server() as database,
        reelworks(made, settings, hosts=hosts, database_url=database.url) as running,
    ):
        if _has_cores():
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
