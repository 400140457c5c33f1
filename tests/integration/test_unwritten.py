"""What becomes of a create whose attempt or answer neither the ledger nor the spool takes, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

import tasks.create
import tasks.keeping
from schemas.jobs import State
from tasks import answering
from tasks.create import create
from tasks.domain.answers import Accepted
from tasks.ledger import tables
from tasks.spool import Spool
from tests.support.bench import Bench
from tests.support.failing import away, full_disk, wordless
from tests.support.situations import with_policy


def test_an_answer_that_nothing_can_take_is_in_the_log_and_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bench.admitted()
    full_twice = full_disk(times=2)
    with monkeypatch.context() as broken, capture_logs() as logged:
        broken.setattr(tasks.create, "commit_answer", away)
        broken.setattr(tasks.create, "_AGAIN_S", 0.001)
        broken.setattr(Spool, "keep", full_twice)
        create(job_id)
    told = [line for line in logged if line["event"] == "answer_not_spooled"]
    assert [(line["log_level"], line["provider_task_id"], line["outcome"]) for line in told] == [
        ("error", "task-1", "accepted")
    ] * 2
    assert answering.replay(bench.ctx) == 1
    assert bench.state(job_id) is State.GENERATING
    assert len(bench.provider.created) == 1


def test_a_ledger_that_comes_back_while_the_disk_is_full_takes_the_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bench.admitted()
    commit, gone = tasks.create.commit_answer, iter([True])

    def back_again(*answer: Any) -> Any:
        return away() if next(gone, False) else commit(*answer)

    monkeypatch.setattr(tasks.create, "commit_answer", back_again)
    monkeypatch.setattr(tasks.create, "_AGAIN_S", 0.001)
    monkeypatch.setattr(Spool, "keep", full_disk())
    create(job_id)
    assert bench.state(job_id) is State.GENERATING


def test_an_answer_that_nothing_can_take_holds_its_worker_no_longer_than_its_lease(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = with_policy(bench, create_lease_s=0.2)
    job_id = bench.admitted()
    with monkeypatch.context() as broken:
        broken.setattr(tasks.create, "commit_answer", away)
        broken.setattr(Spool, "keep", full_disk())
        create(job_id)
    bench.lapse()
    bench.turn("sweep")
    assert bench.state(job_id) is State.UNCERTAIN


def test_a_full_disk_does_not_hide_that_the_attempt_was_not_confirmed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bench.admitted()
    monkeypatch.setattr(type(bench.ctx.ledger), "begin", wordless(bench.ctx.ledger, committed=False))
    monkeypatch.setattr(Spool, "keep", full_disk())
    with pytest.raises(sa.exc.OperationalError):
        create(job_id)
    assert bench.provider.created == []


def test_that_nothing_was_sent_is_spooled_before_the_claim_is_given_back_to_an_absent_ledger(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bench.admitted()
    waiting: list[int] = []

    def release(*_: Any, **__: Any) -> None:
        waiting.append(bench.ctx.spool.waiting())
        away()

    monkeypatch.setattr(tasks.keeping, "release", release)
    monkeypatch.setattr(type(bench.ctx.ledger), "begin", wordless(bench.ctx.ledger, committed=False))
    with pytest.raises(sa.exc.OperationalError):
        create(job_id)
    assert waiting == [1]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_provider_task_whose_attempt_the_ledger_has_lost_is_kept_for_a_person(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    job_id = bench.admitted()

    def fails_over(_: Any) -> Accepted:
        with bench.ctx.ledger.begin() as tx:
            tx.execute(sa.delete(tables.attempts))
        return Accepted("task-1")

    monkeypatch.setattr(bench.provider, "create", fails_over)
    with monkeypatch.context() as broken:
        if not at_once:
            broken.setattr(tasks.create, "commit_answer", away)
        create(job_id)
    with capture_logs() as logged:
        assert answering.replay(bench.ctx) == 0
    assert bench.ctx.spool.waiting() == 0
    (kept,) = (bench.folder / "spool").glob("*.refused")
    assert "task-1" in kept.read_text()
    (told,) = [line for line in logged if line["event"] == "provider_task_without_attempt"]
    assert (told["log_level"], told["job_id"], told["provider_task_id"]) == ("error", job_id, "task-1")


def test_nothing_is_created_where_its_answer_could_not_be_spooled(bench: Bench) -> None:
    job_id = bench.submit()
    bench.turn("admit")
    low = bench.ctx.policy.disk_low_bytes
    bench = with_policy(bench, disk_low_bytes=10**18)
    create(job_id)
    (row,) = bench.rows(tables.jobs)
    assert (row.state, row.tries, row.claimed) == ("admitted", 0, False)
    assert bench.provider.created == []
    with_policy(bench, disk_low_bytes=low)
    create(job_id)
    assert bench.state(job_id) is State.GENERATING
