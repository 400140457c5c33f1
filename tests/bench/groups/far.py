"""The same polls and jobs where the provider is behind TLS and 50 ms away, against ours where it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.bench import engines
from tests.bench.figures import Finding, Measured, Row, at_most, ratio
from tests.bench.group import Group, Place
from tests.bench.groups.lives import rounds, shown
from tests.bench.groups.polls import Spell, crowded, spells
from tests.bench.life import Life
from tests.bench.processes import aside

_NEAR = "ours without TLS, on loopback"
_ROWS = (
    Row("far_cpu_poll", "times", at_most(1.5), _NEAR),
    Row("far_cpu_job", "times", at_most(1.5), _NEAR),
    Row("far_lag_p50", "times", at_most(1.2), _NEAR),
    Row("far_lag_p95", "times", at_most(1.2), _NEAR),
)


def _measure(place: Place) -> Mapping[str, Finding]:
    near = place.kept.get("lives", {}).get("ours") or _lives(place, "near", far=False)
    far = _lives(place, "far", far=True)
    near_polls = place.kept.get("polls") or _polls(place, "near_polls", far=False)
    far_polls = _polls(place, "far_polls", far=True)
    cpu, near_cpu = [each.cpu_ms_poll for each in far_polls], [each.cpu_ms_poll for each in near_polls]
    note = f"{shown(far[-1])}; near: {shown(near[-1])}"
    return {
        "far_cpu_poll": ratio(cpu, near_cpu, f"{_rate(far_polls)}, near: {_rate(near_polls)}{_slowly(place)}"),
        "far_cpu_job": ratio([each.cpu_ms_job for each in far], [each.cpu_ms_job for each in near], note),
        "far_lag_p50": ratio([each.lag_s(0.5) for each in far], [each.lag_s(0.5) for each in near]),
        "far_lag_p95": ratio([each.lag_s(0.95) for each in far], [each.lag_s(0.95) for each in near]),
    }


def _rate(found: Sequence[Spell]) -> str:
    cpu, rates = Measured([each.cpu_ms_poll for each in found]), Measured([each.polls_s for each in found])
    return f"{cpu.value * 1000:,.0f} µs with {rates.value:,.0f} polls/s"


def _slowly(place: Place) -> str:
    """What it is at the same low rate in both: a process that waits in between finds all caches cold."""
    if place.scale.quick:
        return ""
    found = [_rate(_polls(place, f"slowly_{far}", far=far, interval_s=5)) for far in (True, False)]
    return f"; both with as much to ask, all of it in time: {found[0]}, near: {found[1]}"


def _lives(place: Place, name: str, *, far: bool) -> Sequence[Life]:
    found: list[Life] = []
    rounds(place, name, engines.ours, found, None, far=far)
    return found


def _polls(place: Place, name: str, *, far: bool, interval_s: float = 0.1) -> Sequence[Spell]:
    with aside(), crowded(place, name, far=far, interval_s=interval_s) as (made, worker):
        return spells(place, made, worker)


GROUP = Group("far", _ROWS, _measure)
