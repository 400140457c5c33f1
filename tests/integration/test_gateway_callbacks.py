"""The provider calls back: its calls make looks due, and bind a task that was in doubt once a poll agrees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from schemas.jobs import State
from schemas.keys import COMMANDS, TIMETABLE
from tasks import context
from tasks.create import create
from tasks.domain.answers import NotFound, Unknown
from tasks.domain.callbacks import Callbacks
from tasks.domain.polling import PollPolicy
from tasks.ledger import tables
from tasks.ledger.retention import Ended, remove_jobs
from tasks.operating import create_anew
from tasks.pulse import Pulse
from tests.support.bench import DONE, Bench
from tests.support.doors import TOKENS, Door, client
from tests.support.situations import completed, uncertain, with_policy

BASE = "https://films.example"


@pytest.fixture
def called(bench: Bench) -> Bench:
    """A bench whose provider is asked to call back."""
    ctx = replace(bench.ctx, callbacks=Callbacks(BASE, TOKENS))
    context.install(lambda: ctx)
    return replace(bench, ctx=ctx)


@pytest.fixture
def door(called: Bench) -> Door:
    return Door(client())


def latest(bench: Bench) -> str:
    """Where the provider calls about the newest attempt."""
    return f"/callbacks/{TOKENS.token(bench.rows(tables.attempts)[-1].id)}"


def late(bench: Bench, job_id: str) -> None:
    """Nobody is to look at a job for an hour."""
    seconds, _ = cast(tuple[int, int], bench.ctx.pulse.redis.time())
    bench.ctx.pulse.redis.zadd(TIMETABLE, {job_id: seconds + 3600}, xx=True)


def test_a_create_says_where_to_call(called: Bench) -> None:
    called.generating()
    (body,) = called.provider.created
    (attempt,) = called.rows(tables.attempts)
    assert body["input"][0]["params"]["callback_url"] == f"{BASE}/callbacks/{TOKENS.token(attempt.id)}"


def test_without_the_setting_it_says_nothing(bench: Bench) -> None:
    bench.generating()
    assert "callback_url" not in bench.provider.created[0]["input"][0]["params"]


@pytest.mark.parametrize("body", [{"task_id": "x", "status": "success"}, {"id": "x", "status": "completed"}, {}])
def test_a_call_makes_the_job_due_now_whatever_it_says(called: Bench, door: Door, body: Any) -> None:
    job_id = called.generating()
    late(called, job_id)
    called.provider.polls.append(DONE)
    assert door.post(latest(called), body).status_code == 200
    called.turn("poll")
    assert called.state(job_id) is State.DOWNLOADING


def test_a_call_that_says_that_it_goes_on_is_no_reason_to_look(called: Bench, door: Door) -> None:
    job_id = called.generating()
    late(called, job_id)
    assert door.post(latest(called), {"id": "task-1", "status": "in_progress"}).status_code == 200
    called.turn("poll")
    assert called.provider.polled == []


def test_a_call_is_not_believed(called: Bench, door: Door) -> None:
    job_id = called.generating()
    late(called, job_id)
    door.post(latest(called), {"id": "task-1", "status": "failed", "error": {"code": 1, "error_message": "no"}})
    called.turn("poll")  # the provider itself says: in progress
    assert called.state(job_id) is State.GENERATING


def test_a_challenge_is_given_back_without_asking_anybody(called: Bench, door: Door) -> None:
    called.generating()
    path = latest(called)
    broken = replace(called.ctx, ledger=cast(Any, SimpleNamespace()), pulse=cast(Any, None))
    context.install(lambda: broken)
    answer = door.post(path, {"challenge": "c-1"})
    assert (answer.status_code, answer.get_json()) == (200, {"challenge": "c-1"})


@pytest.mark.parametrize("token", ["x", "0f8fad5b-d9cb-469f-a165-70867728950e.0", "%C3%A4.%C3%A4"])
def test_whoever_has_no_token_finds_nothing_there(called: Bench, door: Door, token: str) -> None:
    assert door.post(f"/callbacks/{token}", {"challenge": "c-1"}).status_code == 404


def untold(call: Callable[[], None]) -> list[str]:
    """The tasks of which is logged meanwhile that the ledger has lost their create."""
    with capture_logs() as logged:
        call()
    told = [line for line in logged if line["event"] == "provider_task_without_attempt"]
    assert all((line["attempt"], line["log_level"]) == ("lost", "error") for line in told)
    return [line["provider_task_id"] for line in told]


def test_a_call_about_an_attempt_that_the_ledger_has_lost_is_told_with_its_task(called: Bench, door: Door) -> None:
    called.generating()
    token = TOKENS.token("lost")

    def call(body: Any) -> Callable[[], None]:
        def at_the_door() -> None:
            assert door.post(f"/callbacks/{token}", body).status_code == 404

        return at_the_door

    assert untold(call({"id": "task-of-whom", "status": "in_progress"})) == ["task-of-whom"]
    assert untold(call({"id": "task-1"})) == [], "it was bound to a job by other means"
    assert untold(call({})) == []
    called.ctx.pulse.intake.pass_on(token, "task-of-whom")  # by a gateway, before the ledger was put back
    assert untold(lambda: cast(None, called.turn("accept"))) == ["task-of-whom"]
    assert called.ctx.pulse.redis.xlen(COMMANDS) == 0


@pytest.mark.usefixtures("quick_films")
def test_a_late_call_about_a_job_that_was_pruned_is_no_lost_create(called: Bench, door: Door) -> None:
    job_id = called.submit()
    completed(called, job_id)
    with called.ctx.ledger.begin() as tx:
        remove_jobs(tx, [Ended(job_id, "default")])
    assert untold(lambda: cast(None, door.post(f"/callbacks/{TOKENS.token('lost')}", {"id": "task-1"}))) == []


def test_a_call_that_is_too_large_is_not_read(called: Bench, door: Door) -> None:
    called.generating()
    assert door.post(latest(called), {"id": "x" * 70_000}).status_code == 413


def test_more_than_ten_calls_in_ten_seconds_are_too_many(called: Bench, door: Door) -> None:
    called.generating()
    answers = [door.post(latest(called), {}) for _ in range(11)]
    assert [each.status_code for each in answers] == [200] * 10 + [429]
    assert answers[-1].headers["Retry-After"] == "10"


def test_a_call_is_lost_without_harm_while_redis_is_away(called: Bench, door: Door) -> None:
    called.generating()
    path = latest(called)
    gone = Pulse("redis://127.0.0.1:1/0", timeout_s=0.5)
    away = replace(called.ctx, pulse=gone)
    context.install(lambda: away)
    assert door.post(path, {}).status_code == 200
    gone.close()


class TestDoubt:
    def test_a_call_binds_the_task_once_a_poll_agrees(self, called: Bench, door: Door) -> None:
        job_id = uncertain(called)
        door.post(latest(called), {"id": "task-9", "status": "in_progress"})
        called.turn("accept")
        assert called.provider.polled == ["task-9"]
        assert called.state(job_id) is State.GENERATING
        (job,) = called.rows(tables.jobs)
        assert job.provider_task_id == "task-9"
        moment = called.rows(tables.timeline)[-1]
        assert (moment.event, moment.detail) == ("accepted", {"by": "callback"})

    def test_a_call_that_comes_before_the_create_has_its_answer_is_kept_until_then(
        self, called: Bench, door: Door
    ) -> None:
        job_id = called.admitted()

        def answer_is_lost(_body: Any) -> Unknown:
            door.post(latest(called), {"id": "task-9", "status": "in_progress"})
            called.turn("accept")
            return Unknown("ReadTimeout")

        called.provider.create = answer_is_lost  # type: ignore[method-assign]
        create(job_id)
        assert called.state(job_id) is State.UNCERTAIN
        called.turn("accept")
        assert called.state(job_id) is State.GENERATING
        assert called.ctx.pulse.redis.xlen(COMMANDS) == 0

    def test_a_task_that_the_provider_does_not_know_is_not_bound(self, called: Bench, door: Door) -> None:
        job_id = uncertain(called)
        called.provider.polls.append(NotFound())
        door.post(latest(called), {"task_id": "the-makers-own-id", "status": "processing"})
        called.turn("accept")
        assert called.state(job_id) is State.UNCERTAIN
        assert called.rows(tables.rejected) == []

    def test_another_jobs_task_is_not_bound(self, called: Bench, door: Door) -> None:
        called.generating()
        job_id = uncertain(called)
        door.post(latest(called), {"id": "task-1", "status": "completed"})
        called.turn("accept")
        assert called.state(job_id) is State.UNCERTAIN

    def test_a_command_with_a_token_of_somebodys_own_binds_nothing(self, called: Bench) -> None:
        job_id = uncertain(called)
        for token in ("", "x.y", called.rows(tables.attempts)[-1].id):
            command = {"v": "1", "command": "called", "token": token, "task": "task-9"}
            called.ctx.pulse.redis.xadd(COMMANDS, command)  # type: ignore[arg-type]
        called.turn("accept")
        assert called.state(job_id) is State.UNCERTAIN
        assert called.provider.polled == []
        assert called.ctx.pulse.redis.xlen(COMMANDS) == 0

    def test_a_call_about_an_attempt_that_another_followed_binds_nothing(self, called: Bench, door: Door) -> None:
        job_id = uncertain(called)
        earlier = latest(called)
        create_anew(called.ctx, job_id)
        called.turn("admit")
        called.provider.creates.append(Unknown("ReadTimeout"))
        create(job_id)
        assert called.state(job_id) is State.UNCERTAIN
        door.post(earlier, {"id": "task-9"})
        called.turn("accept")
        assert called.state(job_id) is State.UNCERTAIN


def test_while_calls_are_heard_looks_are_further_apart(called: Bench, door: Door) -> None:
    called = with_policy(called, poll=PollPolicy(first_s=10, jitter=0))
    first = called.generating()
    near = due_in(called, first)
    door.post(latest(called), {})
    fresh = replace(called.ctx, pulse=Pulse(url_of(called)))
    context.install(lambda: fresh)
    far = due_in(called, replace(called, ctx=fresh).generating())
    assert far == pytest.approx(4 * near, rel=0.1)
    fresh.pulse.close()


def due_in(bench: Bench, job_id: str) -> float:
    seconds, micros = cast(tuple[int, int], bench.ctx.pulse.redis.time())
    due = bench.ctx.pulse.redis.zscore(TIMETABLE, job_id)
    assert due is not None
    return float(due) - seconds - micros / 1e6


def url_of(bench: Bench) -> str:
    options = bench.ctx.pulse.redis.connection_pool.connection_kwargs
    return f"redis://{options['host']}:{options['port']}/0"


def test_logs_hold_no_token(called: Bench, door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    job_id = uncertain(called)
    path = latest(called)
    door.post(path, {"id": "task-9"})
    called.turn("accept")
    assert called.state(job_id) is State.GENERATING
    said = capsys.readouterr()
    assert path.rpartition(".")[2] not in said.out + said.err
