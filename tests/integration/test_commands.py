"""What producers ask for through the stream of commands, as the accept lane does it, on both databases."""

from __future__ import annotations

import pytest

from schemas import keys
from schemas.errors import NotSubmitted
from schemas.jobs import State
from schemas.producer import Producer
from tasks.create import create
from tasks.domain.answers import Failed, Rejected
from tasks.ledger import tables
from tests.support.bench import URL, Bench


def command(bench: Bench, **fields: str) -> None:
    bench.ctx.pulse.redis.xadd(keys.COMMANDS, {"v": "1", **fields})


def test_a_producers_cancel_is_done_by_the_lane(bench: Bench) -> None:
    job_id = bench.submit()
    command(bench, command="cancel", job=job_id)
    bench.turn("accept")  # makes the group
    bench.turn("accept")
    assert bench.state(job_id) is State.CANCELLED
    assert bench.ctx.pulse.redis.xlen(keys.COMMANDS) == 0


def test_a_handle_cancels_and_retries(bench: Bench) -> None:
    bench.turn("accept")  # makes the group
    job_id = bench.submit()
    bench.turn("admit")
    bench.provider.creates.append(Rejected("2013", "bad parameters"))
    create(job_id)
    handle = bench.producer.handle(job_id)
    handle.retry()
    bench.turn("accept")
    assert handle.state is State.QUEUED
    handle.cancel()
    bench.turn("accept")
    assert handle.state is State.CANCELLED


def test_a_command_that_redis_does_not_take_is_told_as_such() -> None:
    with Producer("redis://127.0.0.1:1/0") as producer, pytest.raises(NotSubmitted, match="did not confirm"):
        producer.handle("job-1").cancel()


def test_a_command_that_overtook_its_request_waits_for_it(bench: Bench) -> None:
    bench.turn("accept")
    command(bench, command="cancel", job="job-1")
    bench.turn("accept")
    assert bench.ctx.pulse.redis.xlen(keys.COMMANDS) == 1
    bench.enter({"job": "job-1", "request": f'{{"model": "minimax_hailuo_02_i2v", "first_frame_image": "{URL}"}}'})
    bench.turn("accept")
    bench.turn("accept")
    assert bench.state("job-1") is State.CANCELLED


def test_a_command_that_is_read_twice_is_done_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.turn("accept")  # makes the group
    job_id = bench.generating()
    bench.provider.polls.append(Failed("010004095", "no"))
    bench.look()
    command(bench, command="retry", job=job_id, anew="1")
    with monkeypatch.context() as dying:
        dying.setattr(type(bench.ctx.pulse.intake), "commands_done", lambda *_: None)  # the lane died before it
        bench.turn("accept")
    bench.turn("admit")
    create(job_id)
    bench.provider.polls.append(Failed("010004095", "no"))
    bench.look()
    assert bench.state(job_id) is State.FAILED
    bench.turn("accept")
    assert bench.state(job_id) is State.FAILED
    assert bench.ctx.pulse.redis.xlen(keys.COMMANDS) == 0


def test_a_command_that_can_not_be_done_is_put_aside_with_its_reason(bench: Bench) -> None:
    job_id = bench.submit()
    bench.turn("accept")
    command(bench, command="retry", job=job_id)
    command(bench, command="explode", job=job_id)
    bench.turn("accept")
    reasons = sorted(row.reason for row in bench.rows(tables.rejected))
    assert ["command: form 1" in reasons[0], "has not failed" in reasons[1]] == [True, True]
    assert bench.ctx.pulse.redis.xlen(keys.COMMANDS) == 0
