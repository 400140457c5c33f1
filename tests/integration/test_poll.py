"""The lane poll by itself, on real servers: what it makes of answers, and of those that are long in coming."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from decimal import Decimal
from unittest.mock import Mock

import pytest
import structlog

from schemas import keys
from schemas.jobs import State
from schemas.keys import TIMETABLE
from tasks import lanes
from tasks.domain.answers import Failed, LookAgain, PollAnswer, Running, Usage
from tasks.lanes import TURNS
from tasks.ledger import tables
from tasks.pulse import PulseError
from tests.support.bench import Bench
from tests.support.situations import with_policy
from tests.support.waiting import wait_until


def test_nothing_is_written_while_a_task_is_in_progress(bench: Bench) -> None:
    bench.generating()
    before = bench.rows(tables.jobs), bench.rows(tables.timeline)
    for answer in (Running(0.2), LookAgain("ReadTimeout"), Running(None, status_known=False)):
        bench.provider.polls = [answer]
        bench.look()
    assert (bench.rows(tables.jobs), bench.rows(tables.timeline)) == before
    assert len(bench.provider.polled) == 3


@pytest.mark.parametrize(("answer", "left"), [(LookAgain("ReadTimeout"), True), (Running(0.2), False)])
def test_who_has_heard_nothing_leaves_the_lane_to_others(
    bench: Bench, answer: PollAnswer, left: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "_LEFT_UNTIL", {})
    bench.generating()
    bench.provider.polls = [answer]
    bench.look()
    assert ("poll" in lanes._LEFT_UNTIL) is left


def test_the_providers_failure_is_kept_and_what_it_cost_is_charged(bench: Bench) -> None:
    job_id = bench.generating()
    bench.provider.polls = [Failed("010004095", "no luck", Usage(Decimal("0.05"), raw={"cost": "0.05"}))]
    bench.look()
    view = bench.view(job_id)
    assert view is not None
    assert (view.state, view.error_code, view.charged_usd) == (State.FAILED, "010004095", Decimal("0.05"))


def test_an_answer_that_our_code_can_not_take_holds_nobody_up(bench: Bench) -> None:
    first, second = bench.generating(), bench.generating()
    ask = bench.provider.poll

    def poll(task: str) -> PollAnswer:
        if task == "task-1":
            raise ZeroDivisionError
        ask(task)
        return Failed("010004095", "no luck")

    bench.provider.poll = poll  # type: ignore[method-assign]
    bench.look()
    assert (bench.state(first), bench.state(second)) == (State.GENERATING, State.FAILED)


def test_an_answer_that_is_long_in_coming_holds_nobody_up(bench: Bench) -> None:
    first, second = bench.generating(), bench.generating()

    def poll(task: str) -> PollAnswer:
        if task == "task-1":
            wait_until(lambda: bench.state(second) is State.FAILED, within_s=60, what="the other's end")
        return Failed("010004095", "no luck")

    bench.provider.poll = poll  # type: ignore[method-assign]
    bench.look()
    assert (bench.state(first), bench.state(second)) == (State.FAILED, State.FAILED)


def test_what_falls_due_meanwhile_is_looked_at_too(bench: Bench) -> None:
    first, second = bench.generating(), bench.generating()
    bench.ctx.pulse.redis.zadd(TIMETABLE, {second: time.time() + 3600}, xx=True)

    def poll(task: str) -> PollAnswer:
        if task == "task-1":
            bench.ctx.pulse.redis.zadd(TIMETABLE, {second: 0}, xx=True)
            wait_until(lambda: bench.state(second) is State.FAILED, within_s=60, what="the other's end")
        return Failed("010004095", "no luck")

    bench.provider.poll = poll  # type: ignore[method-assign]
    bench.ctx.pulse.redis.zadd(TIMETABLE, {first: 0}, xx=True)
    bench.turn("poll")
    assert (bench.state(first), bench.state(second)) == (State.FAILED, State.FAILED)


def test_a_host_that_gets_no_answers_leaves_what_is_due_to_the_next_turn(bench: Bench) -> None:
    first, second = bench.generating(), bench.generating()
    bench.ctx.pulse.redis.zadd(TIMETABLE, {second: time.time() + 3600}, xx=True)

    def poll(task: str) -> PollAnswer:
        bench.provider.polled.append(task)
        bench.ctx.pulse.redis.zadd(TIMETABLE, {second: 0}, xx=True)
        return LookAgain("ConnectTimeout")

    bench.provider.poll = poll  # type: ignore[method-assign]
    bench.ctx.pulse.redis.zadd(TIMETABLE, {first: 0}, xx=True)
    bench.turn("poll")
    assert bench.provider.polled == ["task-1"]
    bench.turn("poll")
    assert bench.provider.polled == ["task-1", "task-2"]


def test_a_turn_that_was_cut_short_waits_for_its_own_answers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = bench.generating(), bench.generating()
    monkeypatch.setattr("tasks.poll._LINGER_S", -1.0)

    def missed() -> bool:
        return bool(json.loads(bench.ctx.pulse.redis.hget(keys.LOOKS, first) or "")[6] == 1)

    def poll(task: str) -> PollAnswer:
        if task == "task-1":
            return LookAgain("ConnectTimeout")
        wait_until(missed, within_s=60, what="the other's answer being worked")
        return Failed("010004095", "no luck")

    bench.provider.poll = poll  # type: ignore[method-assign]
    bench.ctx.pulse.redis.zadd(TIMETABLE, {first: 0, second: 0}, xx=True)
    assert with_policy(bench, poll_lease_s=60.0).turn("poll") > 0  # 0 where another thread has to see to the rest
    assert bench.state(second) is State.FAILED


def test_a_turn_that_is_over_leaves_late_answers_to_another_thread(bench: Bench) -> None:
    job_id = bench.generating()
    over = threading.Event()

    def poll(_task: str) -> PollAnswer:
        over.wait(60)
        return Failed("010004095", "no luck")

    bench.provider.poll = poll  # type: ignore[method-assign]
    assert with_policy(bench, poll_lease_s=0.1).turn("poll") == 0.0
    assert bench.state(job_id) is State.GENERATING
    over.set()
    wait_until(lambda: bench.state(job_id) is State.FAILED, what="the late answer")


def test_late_answers_that_can_not_be_kept_are_asked_for_again(bench: Bench) -> None:
    job_id = bench.generating()
    over = threading.Event()

    def poll(_task: str) -> PollAnswer:
        over.wait(60)
        return Running(0.5)

    bench.provider.poll = poll  # type: ignore[method-assign]
    broken = with_policy(bench, poll_lease_s=0.1)
    with structlog.testing.capture_logs() as logged:
        broken.turn("poll")
        bench.ctx.pulse.timetable.put_back = Mock(side_effect=PulseError)  # type: ignore[method-assign]
        over.set()
        wait_until(lambda: any(line["event"] == "late_answers_lost" for line in logged), what="its log")
    assert bench.ctx.pulse.redis.zscore(TIMETABLE, job_id) is not None


def test_a_task_whose_key_is_not_configured_is_looked_at_again(bench: Bench) -> None:
    job_id = bench.generating()
    bench.ctx.pulse.redis.zadd(TIMETABLE, {job_id: 0}, xx=True)
    with structlog.testing.capture_logs() as logged:
        TURNS["poll"](replace(bench.ctx, providers={}))
    assert bench.state(job_id) is State.GENERATING
    assert [(line["event"], line["reason"]) for line in logged] == [("poll_said_nothing", "key_refused")]
    assert json.loads(bench.ctx.pulse.redis.hget(keys.LOOKS, job_id) or "")[6] == 1
