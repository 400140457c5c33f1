"""What the watch rests on: it makes every trouble, shortens durations alone, and asks what dashboards ask."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from ops.grafana.__main__ import BOARDS
from tests.support import promql
from tests.watch.panels import Asked, all_asked, filled, without_data
from tests.watch.places import places
from tests.watch.prometheus import config
from tests.watch.rules import FOLDER, PACE, Rule, read_rules, seconds, write_shortened
from tests.watch.table import duration, table, with_table
from tests.watch.watching import Patience, Seen

RULES = read_rules()


def test_the_trouble_of_every_alert_is_made_once() -> None:
    caused = Counter(name for place in places(30) for fault in place.faults for name in fault.alerts)
    assert caused == Counter(dict.fromkeys(RULES, 1))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_a_shortened_rule_asks_for_the_same_within_the_time_allowed(rule: Rule) -> None:
    factor = rule.factor(60)
    made = rule.shortened(factor)
    assert promql.problems(made["expr"]) == []
    assert promql.names(made["expr"]) == promql.names(rule.raw["expr"])
    assert made["labels"] == {**rule.raw["labels"], PACE: "shortened"}
    assert made["annotations"] == rule.raw["annotations"]
    assert rule.takes_s / factor <= 60
    assert rule.window_s / factor <= 60


@pytest.mark.parametrize(
    ("name", "takes_s", "window_s", "expr", "for_"),
    [
        (
            "ReelworksIntakeStands",
            180,
            0,
            "max by (stream) (reelworks_intake_oldest_age_seconds) > 6.000",
            "12000ms",
        ),
        (
            "ReelworksProviderSlow",
            630,
            600,
            RULES["ReelworksProviderSlow"].raw["expr"].strip().replace("[10m]", "[60000ms]").replace("> 30", "> 3.000"),
            "60000ms",
        ),
        ("ReelworksJobsLapsed", 300, 0, "max(reelworks_jobs_lapsed) > 200", "30000ms"),
        ("ReelworksStrays", 86_400, 0, "max(reelworks_strays) > 0", "8640000ms"),
    ],
)
def test_ages_and_windows_are_divided_and_counts_are_not(
    name: str, takes_s: float, window_s: float, expr: str, for_: str
) -> None:
    rule = RULES[name]
    assert (rule.takes_s, rule.window_s) == (takes_s, window_s)
    made = rule.shortened(10)
    assert (made["expr"], made["for"]) == (expr, for_)


def test_rules_that_need_not_be_shortened_are_not(tmp_path: Path) -> None:
    write_shortened(tmp_path / "short.yml", list(RULES.values()), 120)
    (group,) = yaml.safe_load((tmp_path / "short.yml").read_text())["groups"]
    names = {each["alert"] for each in group["rules"]}
    assert "ReelworksDatabaseAway" not in names
    assert {"ReelworksStrays", "ReelworksKeyRefused"} <= names


def test_a_duration_of_another_form_is_not_guessed() -> None:
    assert seconds("90m") == 5400
    with pytest.raises(ValueError, match="1h30m"):
        seconds("1h30m")


def test_what_is_waited_for_is_the_rule_itself_where_it_does_not_take_too_long() -> None:
    patience = Patience(short_s=60, hold_s=330)
    assert patience.awaited(RULES["ReelworksDatabaseAway"]) == {("ReelworksDatabaseAway", False)}
    assert patience.awaited(RULES["ReelworksStrays"]) == {("ReelworksStrays", True)}
    both = {("ReelworksJobsLapsed", False), ("ReelworksJobsLapsed", True)}
    assert patience.awaited(RULES["ReelworksJobsLapsed"]) == both


def test_every_query_of_every_panel_is_asked_with_its_variables_filled_in() -> None:
    asked = all_asked()
    assert len(asked) == sum(len(panel.queries) for board in BOARDS for row in board.rows for panel in row.panels) > 40
    assert not [each for each in asked if "$" in each.expr]
    with pytest.raises(ValueError, match=r"\$tenant"):
        filled('reelworks_jobs{tenant="$tenant"}')


def test_a_panel_without_data_is_named() -> None:
    asked = [Asked("money", "Held", "reelworks_held_usd"), Asked("money", "Today", "reelworks_spent_usd")]
    (empty,) = without_data(asked, lambda expression: expression == "reelworks_held_usd")
    assert empty.name == "money: Today: reelworks_spent_usd"


def test_the_server_has_the_settings_of_a_deployment_but_for_where_and_how_often() -> None:
    stands = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    made = config("http://127.0.0.1:8080", Path("/token"), 2.0, [Path("/short.yml")])
    assert made["rule_files"] == [str(FOLDER / "alerts.yml"), "/short.yml"]
    (scraped,) = made["scrape_configs"]
    assert scraped.pop("static_configs") == [{"targets": ["127.0.0.1:8080"]}]
    assert scraped.pop("authorization") == {"credentials_file": "/token"}
    assert scraped["job_name"] == stands["scrape_configs"][0]["job_name"]
    assert set(made["global"].values()) == {"2000ms"}
    assert made["global"].keys() == stands["global"].keys()


def test_the_table_says_what_did_not_fire() -> None:
    seen = [Seen(RULES["ReelworksStrays"], "a stray", 1440.0, 61.2, None, 12.0)]
    shown = table([*seen, Seen(RULES["ReelworksNotSeen"], "killed", 2.0, trouble="it did not fire")])
    assert "| `ReelworksStrays` | a stray | 1d | - | 1,440 | 61 s | 12 s |" in shown
    assert "| `ReelworksNotSeen` | killed (**it did not fire**) | 2m | - | 2 | - | - |" in shown
    assert duration(5430) == "1h 30m 30s"
    assert duration(0) == "at once"


def test_a_page_gets_the_new_table_in_the_place_of_the_old_one() -> None:
    assert with_table("before\n\n| old |\n|---|\n| row |\n\nafter\n", "| new |") == "before\n\n| new |\n\nafter\n"
    assert with_table("", "| new |") == "| new |\n"
