"""The series of `/metrics`: named by Prometheus' conventions, each with its sentence, and listed in the docs."""

from __future__ import annotations

import re

import pytest

from workers.metrics import catalog
from workers.metrics.catalog import GAUGES, Gauge
from workers.stackplan import ROOT

UNITS = ("seconds", "bytes", "usd")
_OF_TIME = re.compile(r"_(age|late|lag|silent|took)_")
BOUNDED = {"state", "tenant", "key", "period", "stream", "queue", "lane"}


@pytest.mark.parametrize("gauge", GAUGES, ids=lambda gauge: gauge.name)
def test_a_name_has_its_unit_and_a_sentence(gauge: Gauge) -> None:
    assert re.fullmatch(r"reelworks(_[a-z]+)+", gauge.name)
    assert not re.search(r"_(ms|millis\w*|minutes|hours|cents|dollars|mb|percent|total|count|sum|bucket)$", gauge.name)
    assert re.fullmatch(r"[A-Z0-9].*\.", gauge.says)
    if _OF_TIME.search(f"{gauge.name}_"):
        assert gauge.name.endswith("_seconds")
    for unit in UNITS:
        assert unit not in gauge.name or gauge.name.endswith(f"_{unit}")


def test_no_name_is_twice_and_labels_are_of_the_few_that_are_bounded() -> None:
    names = [gauge.name for gauge in GAUGES]
    assert len(set(names)) == len(names) > 20
    assert {label for gauge in GAUGES for label in gauge.labels} <= BOUNDED


def test_the_docs_list_what_there_is() -> None:
    page = (ROOT / "ops" / "metrics.md").read_text()
    assert catalog.table() in page
    assert len(re.findall(r"^\| `reelworks_", page, re.MULTILINE)) == len(GAUGES)
