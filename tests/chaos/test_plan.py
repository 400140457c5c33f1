"""The plan of a chaos run: repeatable by its seed, and as harmful as it says."""

from __future__ import annotations

from collections import Counter

import pytest

from ops.simulator.scenario import Scenario
from tasks.failpoints import FAILPOINTS
from tests.chaos.orders import AMBIGUOUS, DOORS, NATIVE, PRODUCER, Order, scenario
from tests.chaos.plan import PLACES, Scale, make_plan

FULL = Scale.full(1000, 240)


def test_a_seed_is_a_plan() -> None:
    assert make_plan(5, FULL) == make_plan(5, FULL)
    assert make_plan(5, FULL).blows != make_plan(6, FULL).blows


def test_a_full_run_dies_at_every_failpoint_and_more() -> None:
    plan = make_plan(1, FULL)
    kinds = Counter(blow.kind for blow in plan.blows)
    laid = {blow.target for blow in plan.blows if blow.kind in ("fuse", "refuse")}
    assert laid == PLACES
    assert len(FAILPOINTS - PLACES) == 14
    assert FULL.fuses + FULL.kills >= 50
    assert (kinds["kill"], kinds["wipe"], kinds["broker"]) == (FULL.kills, 3, 3)


@pytest.mark.parametrize("seed", range(200))
def test_what_is_passed_only_after_a_death_lies_before_it(seed: int) -> None:
    at_s = {blow.target: blow.at_s for blow in make_plan(seed, FULL).blows if blow.kind in ("fuse", "refuse")}
    assert at_s["sweep.park.before_commit"] < at_s["create.before_post"]
    assert at_s["sweep.park.after_commit"] < at_s["create.after_post"]
    wiped_at_s = min(blow.at_s for blow in make_plan(seed, FULL).blows if blow.kind == "wipe")
    assert max(at_s["sweep.refill.before_commit"], at_s["sweep.refill.after_commit"]) < wiped_at_s
    assert at_s["record.before_publish"] < at_s["record.before_commit"]
    assert at_s["record.after_publish"] < at_s["download.stored.after_commit"]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_seldom_come_by_is_laid_early(seed: int) -> None:
    seldom = ("operate.", "command.", "notify.", "sweep.park.", "download.re", "input.", "create.before_post")
    blows = make_plan(seed, FULL).blows
    assert max(blow.at_s for blow in blows if blow.target.startswith(seldom)) < FULL.window_s * 0.6


@pytest.mark.parametrize("seed", range(20))
def test_jobs_come_through_every_door_one_by_one_and_together(seed: int) -> None:
    orders = make_plan(seed, FULL).orders
    shares = Counter(order.door for order in orders)
    assert shares.keys() == set(DOORS)
    assert min(shares.values()) > len(orders) / 12
    assert [order.at_s for order in orders] == sorted(order.at_s for order in orders)
    batches: dict[int, list[Order]] = {}
    for order in orders:
        if order.batch is not None:
            batches.setdefault(order.call, []).append(order)
    assert {batch[0].door for batch in batches.values()} == {PRODUCER, NATIVE}
    for batch in batches.values():
        assert len(batch) > 1
        assert len({(order.door, order.tenant, order.at_s) for order in batch}) == 1


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("scale", [FULL, Scale.small()], ids=["full", "small"])
def test_the_gateway_and_one_of_its_processes_are_among_those_killed(seed: int, scale: Scale) -> None:
    kills = [blow.target for blow in make_plan(seed, scale).blows if blow.kind == "kill"]
    assert len(kills) == scale.kills
    assert {"gateway", "gateway child"} <= set(kills)


@pytest.mark.parametrize("seed", range(20))
def test_a_tenth_of_the_jobs_is_told_of_and_nobody_before_the_secrets_fuses_lie(seed: int) -> None:
    plan = make_plan(seed, FULL)
    called_back = [order for order in plan.orders if order.called_back]
    assert 60 <= len(called_back) <= 150
    assert {order.door for order in called_back} == set(DOORS)
    fuses = [blow.at_s for blow in plan.blows if blow.target.startswith("notify.secret.")]
    assert len(fuses) == 2
    assert max(fuses) + 2 < min(order.at_s for order in called_back)
    assert {0, 204, 500} == set(plan.hook_answers)


def test_about_five_of_a_hundred_creates_are_ambiguous() -> None:
    ambiguous = sum(order.kind in AMBIGUOUS for order in make_plan(1, Scale.full(10_000, 240)).orders)
    assert 400 <= ambiguous <= 600


def test_the_simulator_understands_the_scenario() -> None:
    Scenario(scenario())
