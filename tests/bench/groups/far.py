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
    us, near_us = [each.cpu_ms_poll * 1000 for each in far_polls], [each.cpu_ms_poll * 1000 for each in near_polls]
    note = f"{shown(far[-1])}; near: {shown(near[-1])}"
    return {
        "far_cpu_poll": ratio(us, near_us, f"{Measured(us).value:,.0f} µs against {Measured(near_us).value:,.0f} µs"),
        "far_cpu_job": ratio([each.cpu_ms_job for each in far], [each.cpu_ms_job for each in near], note),
        "far_lag_p50": ratio([each.lag_s(0.5) for each in far], [each.lag_s(0.5) for each in near]),
        "far_lag_p95": ratio([each.lag_s(0.95) for each in far], [each.lag_s(0.95) for each in near]),
    }


def _lives(place: Place, name: str, *, far: bool) -> Sequence[Life]:
    found: list[Life] = []
    rounds(place, name, engines.ours, found, None, far=far)
    return found


def _polls(place: Place, name: str, *, far: bool) -> Sequence[Spell]:
    with aside(), crowded(place, name, far=far) as (made, worker):
        return spells(place, made, worker)


GROUP = Group("far", _ROWS, _measure)
