"""What comes through the doors in Redis that nobody could want, and what must not come of it. On both databases."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

import tasks.commands
from schemas import keys
from schemas.jobs import State
from tasks.ledger import tables
from tasks.media.folderstore import FolderStore
from tasks.pulse import PulseError
from tasks.pulse.intake import Intake
from tasks.pulse.views import Views
from tests.support.bench import MODEL, URL, Bench
from tests.support.works import request

STRANGE_IDS = [b"x\x00", b"\xff\xfe", b"", b"a", b"../..", b"x" * 65, "ü1".encode()]


def command(bench: Bench, **fields: Any) -> None:
    bench.ctx.pulse.redis.xadd(keys.COMMANDS, {"v": "1", **fields})


@pytest.mark.parametrize("job_id", STRANGE_IDS)
@pytest.mark.parametrize("word", ["cancel", "explode"])
def test_a_command_with_a_strange_id_is_put_aside_and_holds_nothing_up(bench: Bench, job_id: bytes, word: str) -> None:
    command(bench, command=word, job=job_id)
    assert bench.state(bench.submit()) is State.QUEUED
    (aside,) = bench.rows(tables.rejected)
    assert aside.job_id is None
    assert bench.ctx.pulse.redis.xlen(keys.COMMANDS) == 0


def test_whatever_a_command_causes_does_not_hold_up_what_is_behind_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bench.submit()

    def breaks(*_: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(tasks.commands, "cancel", breaks)
        command(bench, command="cancel", job=job_id)
        assert bench.state(bench.submit()) is State.QUEUED
    (aside,) = bench.rows(tables.rejected)
    assert (aside.job_id, aside.reason) == (job_id, "command: can't be carried out (ZeroDivisionError)")


def test_a_command_is_not_given_up_while_an_older_request_waits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.pulse.intake._OLD_S", -1.0)
    bench.enter({"job": "job-1", "request": json.dumps({"model": MODEL, "first_frame_image": URL})})
    command(bench, command="cancel", job="job-1")
    monkeypatch.setattr(FolderStore, "has_room", lambda *_: False)
    bench.turn("accept")  # reads no request for want of room
    assert bench.rows(tables.rejected) == []
    monkeypatch.undo()
    bench.turn("accept")
    bench.turn("accept")
    assert bench.state("job-1") is State.CANCELLED


def test_a_command_for_a_job_that_nobody_knows_is_given_up_in_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.pulse.intake._OLD_S", -1.0)
    command(bench, command="cancel", job="job-1")
    bench.turn("accept")
    (aside,) = bench.rows(tables.rejected)
    assert aside.reason == "job: there is none of this id"


@pytest.mark.parametrize("job_id", ["a", "ab", "a/b", "-ab", "x" * 65])
def test_an_id_that_can_be_no_folder_is_refused_at_the_door(bench: Bench, job_id: str) -> None:
    bench.enter({"job": job_id, "request": json.dumps({"model": MODEL, "first_frame_image": URL})})
    bench.turn("accept")
    (aside,) = bench.rows(tables.rejected)
    assert aside.reason.startswith("job: 3 to 64")
    assert bench.rows(tables.jobs) == []


@pytest.mark.parametrize("job_id", ["abc", "A-1", "0__", "x" * 64])
def test_every_id_that_is_accepted_is_a_folder_of_the_store(bench: Bench, job_id: str) -> None:
    bench.enter({"job": job_id, "request": json.dumps({"model": MODEL, "first_frame_image": URL})})
    bench.turn("accept")
    (job,) = bench.rows(tables.jobs)
    bench.ctx.store.part(f"{job.tenant}/{job.id}/0.part")


@pytest.mark.parametrize("breaks", ["forget", "publish", "done"])
def test_a_refusal_is_told_and_its_key_is_free_whatever_breaks_in_between(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, breaks: str
) -> None:
    asked = {**request(), "idempotency_key": "order-7"}
    handle = bench.producer.submit(**asked)
    for blob in bench.ctx.pulse.redis.scan_iter(f"{keys.PREFIX}input:*"):
        bench.ctx.pulse.redis.delete(blob)  # Redis came back without its last second

    def away(*_: Any) -> None:
        raise redis.ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(Views if breaks == "publish" else Intake, breaks, away)
        with pytest.raises(PulseError):
            bench.turn("accept")
    bench.turn("accept")
    view = bench.view(handle.id)
    assert view is not None
    assert (view.state, view.error_code) == (State.FAILED, "request_refused")
    assert len(bench.rows(tables.rejected)) == 1
    again = bench.producer.submit(**asked)
    bench.turn("accept")
    assert (again.id, bench.state(again.id)) == (handle.id, State.QUEUED)
