"""The plan of a chaos run: repeatable by its seed, and as harmful as it says."""

from __future__ import annotations

from collections import Counter

from ops.simulator.scenario import Scenario
from tasks.failpoints import FAILPOINTS
from tests.chaos.plan import AMBIGUOUS, Scale, make_plan, scenario

FULL = Scale.full(1000, 240)


def test_a_seed_is_a_plan() -> None:
    assert make_plan(5, FULL) == make_plan(5, FULL)
    assert make_plan(5, FULL).blows != make_plan(6, FULL).blows


def test_a_full_run_dies_at_every_failpoint_and_more() -> None:
    plan = make_plan(1, FULL)
    kinds = Counter(blow.kind for blow in plan.blows)
    laid = {blow.target for blow in plan.blows if blow.kind in ("fuse", "refuse")}
    assert laid == FAILPOINTS
    assert FULL.fuses + FULL.kills >= 50
    assert (kinds["kill"], kinds["wipe"], kinds["broker"]) == (FULL.kills, 3, 3)


def test_about_five_of_a_hundred_creates_are_ambiguous() -> None:
    ambiguous = sum(order.kind in AMBIGUOUS for order in make_plan(1, Scale.full(10_000, 240)).orders)
    assert 400 <= ambiguous <= 600


def test_the_simulator_understands_the_scenario() -> None:
    Scenario(scenario())
