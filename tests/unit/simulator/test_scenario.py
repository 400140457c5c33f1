"""Rules: which creates they match, what they decide, and what is refused."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from ops.simulator.bill import key_alias
from ops.simulator.faults import CREATE, FAULTS, OUTPUT, POLL
from ops.simulator.scenario import Call, Plan, Scenario, ScenarioError

FAIL = {"poll": {"outcome": "failed"}}


def outcomes(rules: object, calls: int = 10, **call: str) -> list[int]:
    """The numbers of the creates whose task is to fail."""
    scenario = Scenario(rules, seed=3)
    made = [scenario.plan(Call(**{"prompt": "", "key": "key-1", **call})) for _ in range(calls)]
    return [n for n, plan in enumerate(made, 1) if plan.poll.outcome == "failed"]


@pytest.mark.parametrize(
    ("match", "failed"),
    [
        ({"nth": 3}, [3]),
        ({"every": 5}, [5, 10]),
        ({"every": 2, "nth": 4}, [4]),
        ({"chance": 0}, []),
        ({"chance": 1}, list(range(1, 11))),
        ({}, list(range(1, 11))),
        ({"prompt_contains": "moon"}, []),
    ],
)
def test_conditions_match_the_creates_they_name(match: dict[str, object], failed: list[int]) -> None:
    assert outcomes([{"match": match, **FAIL}]) == failed


def test_a_prompt_a_key_and_a_resolution_are_matched() -> None:
    assert outcomes([{"match": {"prompt_contains": "moon"}, **FAIL}], 1, prompt="the moon rises") == [1]
    assert outcomes([{"match": {"key": "sk-secret"}, **FAIL}], 1, key=key_alias("sk-secret")) == [1]
    assert outcomes([{"match": {"key": "sk-secret"}, **FAIL}], 1, key=key_alias("sk-other")) == []
    assert outcomes([{"match": {"resolution": "512P"}, **FAIL}], 1, resolution="512P") == [1]
    assert outcomes([{"match": {"model": "m"}, **FAIL}], 1, model="n") == []


def test_chance_is_repeatable_and_near_its_number() -> None:
    rules = [{"match": {"chance": 0.3}, **FAIL}]
    assert outcomes(rules, 1000) == outcomes(rules, 1000)
    assert 230 < len(outcomes(rules, 1000)) < 370


def test_a_rule_is_used_at_most_as_often_as_it_says() -> None:
    assert outcomes([{"times": 2, **FAIL}]) == [1, 2]


def test_the_first_matching_rule_decides_a_group_and_leaves_the_others() -> None:
    plan = Scenario(
        [
            {"match": {"nth": 1}, "create": {"status": 429}},
            {"create": {"status": 500}, "poll": {"never": True}},
        ]
    ).plan(Call(prompt="", key="key-1"))
    assert plan.create.status == 429
    assert plan.poll.never is True


def test_a_plan_says_which_rules_decided_it() -> None:
    rules = [
        {"name": "lost", "match": {"nth": 1}, "create": {"fault": "no_id"}},
        {"match": {"nth": 1}, "create": {"fault": "html"}},
        {"poll": {"latency_s": 0}},
    ]
    scenario = Scenario(rules)
    assert [scenario.plan(Call(prompt="", key="key-1")).rules for _ in range(2)] == [
        ("lost", "rules[2]"),
        ("rules[2]",),
    ]


def test_a_mix_of_chances_is_repeatable_and_its_shares_add_up() -> None:
    faults = ("accept_then_reset", "accept_then_close", "http_504_after_accept", "no_id", "cut_json")
    mix = [{"match": {"chance": 0.01}, "create": {"fault": fault}} for fault in faults]

    def met(seed: int) -> list[str | None]:
        scenario = Scenario(mix, seed=seed)
        return [scenario.plan(Call(prompt="", key="key-1")).create.fault for _ in range(4000)]

    assert met(3) == met(3) != met(4)
    shares = Counter(met(3))
    assert shares.keys() == {None, *faults}
    assert 150 < 4000 - shares[None] < 250, "of 4,000 creates about 5 %"


def test_no_rule_means_the_plain_provider() -> None:
    assert Scenario().plan(Call(prompt="", key="key-1")) == Plan()


def test_rules_are_shown_without_keys_and_can_be_set_again() -> None:
    scenario = Scenario({"rules": [{"match": {"key": "sk-secret"}, **FAIL}]})
    scenario.plan(Call(prompt="", key=key_alias("sk-secret")))
    shown = json.dumps(scenario.as_json())
    assert "sk-secret" not in shown
    assert scenario.as_json()["rules"][0]["used"] == 1
    assert Scenario(scenario.as_json()).as_json()["rules"][0]["used"] == 0


@pytest.mark.parametrize(
    "rules",
    [
        7,
        {"rule": []},
        [7],
        [{"mach": {}}],
        [{"match": {"nht": 3}}],
        [{"match": {"nth": 0}}],
        [{"match": {"nth": "3"}}],
        [{"match": {"chance": 2}}],
        [{"times": "2"}],
        [{"create": {"status": "429"}}],
        [{"create": {"status": 200}}],
        [{"create": {"stats": 429}}],
        [{"create": {"fault": "truncated_output"}}],
        [{"poll": {"fault": "nothing_known"}}],
        [{"poll": {"outcome": "exploded"}}],
        [{"poll": {"cost_usd": "lots"}}],
        [{"poll": {"latency_s": -1}}],
        [{"poll": {"never": "yes"}}],
        [{"output": {"resolution": "540P"}}],
        [{"output": {"duration_s": 0}}],
        [{"name": 7}],
        [{"create": {"fault": "endless"}}],
        [{"output": {"fault": "accept_then_close"}}],
        [{"poll": {"goes_back": -1}}],
        [{"poll": {"cost_form": "minus"}}],
        [{"poll": {"fault": "http_404", "fault_times": "always"}}],
        [{"output": {"ranges": "odd"}}],
        [{"output": {"redirect_to": "http://10.0.0.1/"}}],
        [{"output": {"fault": "reset", "redirect_to": "http://10.0.0.1/"}}],
        [{"callback": {"forged": "id"}}],
        [{"callback": {"early": 1}}],
    ],
)
def test_a_misspelt_scenario_is_refused(rules: object) -> None:
    with pytest.raises(ScenarioError):
        Scenario(rules)


@pytest.mark.parametrize("stage", [CREATE, POLL, OUTPUT])
def test_every_fault_of_the_table_can_be_asked_for_at_its_stage(stage: str) -> None:
    names = [name for name, fault in FAULTS.items() if stage in fault.stages]
    assert names
    Scenario([{stage: {"fault": name}} for name in names])
