"""Reads what is shown to Prometheus, as Prometheus reads it."""

from __future__ import annotations

from contextlib import suppress

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tasks.pulse import PulseError
from tests.support.bench import Bench
from workers.metrics.collector import Figures, text

Series = dict[tuple[str, tuple[str, ...]], float]


def shown(bench: Bench) -> str:
    """The series of this moment, in text."""
    with suppress(PulseError):
        bench.ctx.pulse.tally.send()
    return text(Figures(lambda: bench.ctx))


def parsed(exposed: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(exposed)}


def series(bench: Bench) -> Series:
    """Every sample by its name and the values of its labels, in the order of their names."""
    samples = [each for family in parsed(shown(bench)).values() for each in family.samples]
    return {(each.name, tuple(value for _, value in sorted(each.labels.items()))): each.value for each in samples}


def of(found: Series, name: str) -> dict[tuple[str, ...], float]:
    return {labels: value for (each, labels), value in found.items() if each == name}
