"""The alerts for Prometheus: each asks for series that there are, says what to do, and is tried by a test of promtool.

`make check-ops` runs promtool's tests; this needs nothing but Python.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import promql

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "ops" / "prometheus"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
FIRING = re.compile(r'alertname="(\w+)".*alertstate="firing"')


def tried(file: Path) -> tuple[set[str], set[str]]:
    """The alerts that fire at some moment in a file of tests; and those of them that do not at another, before or
    after."""
    fire, quiet = set[str](), set[str]()
    for test in yaml.safe_load(file.read_text())["tests"]:
        moments = [
            *({fired(sample) for sample in each.get("exp_samples", [])} for each in test.get("promql_expr_test", [])),
            *({each["alertname"]} if each.get("exp_alerts") else set() for each in test.get("alert_rule_test", [])),
        ]
        here = set[str]().union(*moments)
        fire |= here
        quiet |= {name for name in here if any(name not in moment for moment in moments)}
    return fire, quiet


def fired(sample: dict[str, Any]) -> str:
    found = FIRING.search(sample["labels"])
    assert found is not None
    return found[1]


def test_every_alert_has_a_name_of_its_own() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names))
    assert all(name.startswith("Reelworks") for name in names)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_series_and_labels_that_there_are(rule: dict[str, Any]) -> None:
    assert promql.problems(rule["expr"]) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_what_it_means_and_which_page_to_open(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    said = rule["annotations"]
    assert said.keys() == {"summary", "description", "runbook"}
    assert said["description"].endswith(".")
    page = ROOT / said["runbook"]
    assert page.parent == ROOT / "ops" / "runbooks"
    assert rule["alert"] in page.read_text(), "whoever opens the page has to find what woke them"


def test_every_alert_is_seen_to_fire_and_not_to_fire() -> None:
    files = sorted((FOLDER / "tests").glob("*.yml"))
    found = [tried(file) for file in files]
    names = {rule["alert"] for rule in RULES}
    assert set().union(*(fire for fire, _ in found)) == names
    assert set().union(*(quiet for _, quiet in found)) == names


def test_prometheus_loads_these_rules_and_scrapes_the_gateway_of_the_compose_file() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert config["rule_files"] == ["alerts.yml"]
    (scraped,) = config["scrape_configs"]
    assert scraped["job_name"] == "reelworks"
    assert scraped["static_configs"] == [{"targets": ["gateway:8080"]}]
    assert "credentials" not in scraped["authorization"], "the token stands in a file"


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("reelworks_lane_upp == 0", "no series reelworks_lane_upp"),
        ("rate(reelworks_poll_late_seconds[5m])", "no series reelworks_poll_late_seconds"),
        ('reelworks_jobs{stat="queued"}', "reelworks_jobs has no label stat"),
        ("sum by (lane) (reelworks_jobs)", "nothing there has the label lane"),
        ("reelworks_jobs unless on (key) up", "nothing there has the label key"),
        ("1 + 1", "asks for no series: 1 + 1"),
    ],
)
def test_the_check_would_find_a_mistake(expression: str, problem: str) -> None:
    assert promql.problems(expression) == [problem]
