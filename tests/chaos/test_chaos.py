"""A small chaos run on real servers: the one of `make chaos`, with less of everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.books import story
from tests.chaos.orders import DOORS, Order
from tests.chaos.plan import Plan, Scale, make_plan
from tests.chaos.run import run

SEED = 3


@pytest.mark.timeout(240)  # a run has a bound of its own; its stack needs a while to stop
def test_kills_a_wipe_and_a_broker_restart_lose_nothing_and_pay_nothing_twice(tmp_path: Path) -> None:
    outcome = run(make_plan(SEED, Scale.small()), tmp_path / "run", database="sqlite", within_s=100, say=print)
    told = [f"{b.promise}: {b.sentence}\n" + "\n".join(story(outcome.books, b.job_id)) for b in outcome.breaches]
    assert not told, "\n".join([*told, outcome.closing_line()])
    assert outcome.counts["kill"] >= 9
    assert outcome.result.doors == len(DOORS)
    assert outcome.webhooks.owed > outcome.webhooks.jobs > 0


@pytest.mark.timeout(150)
def test_workers_that_create_again_when_they_do_not_know_are_seen_to_pay_twice(tmp_path: Path) -> None:
    jobs = 6
    orders = tuple(Order(n, "create-http_500_after_accept", 0, 0.1 * n, None, twice=False) for n in range(jobs))
    calm = Scale(jobs, window_s=1, fuses=0, kills=0, wipes=0, broker_restarts=0, freezes=0, refusals=0)
    plan = Plan(SEED, calm, orders, blows=())
    careless = "tests.chaos.careless"
    outcome = run(plan, tmp_path / "run", database="sqlite", within_s=60, say=print, app=careless)
    assert outcome.result.paid_twice == jobs, outcome.closing_line()
    assert not outcome.well
