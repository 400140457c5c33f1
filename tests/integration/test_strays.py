"""Provider tasks that no job follows are asked about without holding anything up, and not for ever as often."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import structlog

from tasks.domain.answers import NotFound, PollAnswer
from tasks.ledger import tables
from tasks.settling import settle_strays
from tests.support.bench import Bench
from tests.support.situations import FILM, amounts, have_strays


def next_look_s(bench: Bench) -> float:
    """How long from now until it is asked again."""
    (row,) = bench.rows(tables.attempts)
    with bench.ctx.ledger.read() as tx:
        return float((row.settle_at - tx.now).total_seconds())


def test_strays_are_asked_about_at_once(bench: Bench) -> None:
    have_strays(bench, 3)
    all_three = threading.Barrier(3)

    def poll(_: str) -> PollAnswer:
        all_three.wait(20)
        return FILM

    bench.provider.poll = poll  # type: ignore[method-assign]
    assert settle_strays(bench.ctx) == 3
    assert sorted(amounts(bench)) == ["stray-0", "stray-1", "stray-2"]


def test_a_turn_asks_about_a_few_and_the_next_one_about_others(bench: Bench) -> None:
    have_strays(bench, 12)
    bench.provider.polls = [NotFound()] * 12
    most = bench.ctx.policy.poll_concurrency // 4
    bench.turn("sweep")
    assert len(bench.provider.polled) == most
    bench.turn("sweep")
    assert sorted(bench.provider.polled) == sorted(f"stray-{n}" for n in range(12))


def test_one_that_our_code_can_not_take_holds_no_other_up(bench: Bench) -> None:
    have_strays(bench, 2)

    def poll(task: str) -> PollAnswer:
        if task == "stray-0":
            raise ZeroDivisionError
        return FILM

    bench.provider.poll = poll  # type: ignore[method-assign]
    assert settle_strays(bench.ctx) == 1
    assert sorted(amounts(bench)) == ["stray-1"]
    assert settle_strays(bench.ctx) == 0  # not due


@pytest.mark.parametrize(("age_s", "look_s"), [(0, 60), (6000, 600), (30 * 86_400, 3600)])
def test_the_older_it_is_the_later_it_is_asked_again(bench: Bench, age_s: float, look_s: float) -> None:
    have_strays(bench, 1, age_s)
    bench.provider.polls = [NotFound()]
    settle_strays(bench.ctx)
    assert next_look_s(bench) == pytest.approx(look_s, abs=20)


@pytest.mark.parametrize(("age_s", "alarms"), [(80_000, 0), (90_000, 1)])
def test_one_that_is_not_settled_after_a_day_is_an_alarm(bench: Bench, age_s: float, alarms: int) -> None:
    have_strays(bench, 1, age_s)
    bench.provider.polls = [NotFound()]
    with structlog.testing.capture_logs() as logged:
        settle_strays(bench.ctx)
    found: list[Any] = [line for line in logged if line["event"] == "stray_not_settled"]
    assert [(line["log_level"], line["provider_task_id"]) for line in found] == [("error", "stray-0")] * alarms
