"""The series of `/metrics`: named by Prometheus' conventions, each with its sentence, and listed in the docs."""

from __future__ import annotations

import re

import pytest

from workers.metrics import catalog
from workers.metrics.catalog import ALL, HISTOGRAMS, Gauge, Histogram, Sum
from workers.stackplan import ROOT

UNITS = ("seconds", "bytes", "usd")
_OF_TIME = re.compile(r"_(age|late|lag|silent|took)_")
BOUNDED = {
    "state",
    "tenant",
    "key",
    "period",
    "stream",
    "queue",
    "lane",
    "model",
    "call",
    "outcome",
    "estimated",
    "scope",
    "work",
}


@pytest.mark.parametrize("series", ALL, ids=lambda series: series.name)
def test_a_name_has_its_unit_and_a_sentence(series: Gauge | Sum | Histogram) -> None:
    assert series.name.endswith("_total") is isinstance(series, Sum)
    name = series.name.removesuffix("_total")
    assert re.fullmatch(r"reelworks(_[a-z]+)+", name)
    assert not re.search(r"_(ms|millis\w*|minutes|hours|cents|dollars|mb|percent|count|sum|bucket)$", name)
    assert re.fullmatch(r"[A-Z0-9].*\.", series.says)
    if _OF_TIME.search(f"{name}_") or isinstance(series, Histogram):
        assert name.endswith("_seconds")
    for unit in UNITS:
        assert unit not in name or name.endswith(f"_{unit}")


@pytest.mark.parametrize("histogram", HISTOGRAMS, ids=lambda histogram: histogram.name)
def test_the_bounds_of_a_histogram_are_few_and_grow(histogram: Histogram) -> None:
    assert list(histogram.of.bounds_s) == sorted(set(histogram.of.bounds_s))
    assert 5 <= len(histogram.of.bounds_s) <= 12


def test_no_name_is_twice_and_labels_are_of_the_few_that_are_bounded() -> None:
    names = [series.name for series in ALL]
    assert len(set(names)) == len(names) > 20
    assert {label for series in ALL for label in series.labels} <= BOUNDED


def test_the_docs_list_what_there_is() -> None:
    page = (ROOT / "ops" / "metrics.md").read_text()
    assert catalog.table() in page
    assert len(re.findall(r"^\| `reelworks_", page, re.MULTILINE)) == len(ALL)
