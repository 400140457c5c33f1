"""The dashboards for Grafana: their files are what the code says, and every query asks for series that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.grafana.__main__ import BOARDS, FOLDER, files
from tests.support import promql

PROVISIONING = Path(FOLDER).parent / "provisioning"
QUERIES = [
    pytest.param(query.expr, query.legend, id=f"{board.uid}: {panel.title} {place}")
    for board in BOARDS
    for row in board.rows
    for panel in row.panels
    for place, query in enumerate(panel.queries)
]


def drawn(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / name).read_text())


def test_the_files_are_those_of_the_code() -> None:
    assert {file.name: file.read_text() for file in FOLDER.iterdir()} == files(), "run `python -m ops.grafana`"


@pytest.mark.parametrize(("expression", "legend"), QUERIES)
def test_a_query_asks_for_series_and_labels_that_there_are(expression: str, legend: str) -> None:
    assert promql.problems(expression) == []
    shown = set(re.findall(r"\{\{(\w+)\}\}", legend))
    there = set().union(*(promql.KNOWN[name] for name in promql.names(expression)))
    assert shown <= there


@pytest.mark.parametrize("name", sorted(files()))
def test_panels_say_what_they_show_and_do_not_lie_on_one_another(name: str) -> None:
    panels = drawn(name)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set[tuple[int, int]]()
    for panel in panels:
        assert panel["description"].endswith(".")
        grid = panel["gridPos"]
        cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
        assert not cells & taken
        assert grid["x"] + grid["w"] <= 24
        taken |= cells


def test_grafana_is_given_the_source_that_the_panels_name_and_the_folder_of_the_files() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "reelworks.yml").read_text())["providers"]
    named = {json.dumps(panel["datasource"]) for name in files() for panel in drawn(name)["panels"]}
    assert named == {json.dumps({"type": source["type"], "uid": source["uid"]})}
    assert provider["options"]["path"] == "/etc/grafana/dashboards"
