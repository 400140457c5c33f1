"""Guards that show only when two are at it at once, or one stops half-way: each is missed by a mutant."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from typing import Any

import pytest

from schemas import keys
from schemas.jobs import State
from tasks import operating
from tasks.answering import commit_answer
from tasks.create import create
from tasks.domain.answers import Accepted, CreateOutcome, Rejected, Unknown, Unsent
from tasks.domain.creating import Answer, judge
from tasks.domain.transitions import Event
from tasks.ledger import Ledger, LedgerError, tables
from tasks.ledger import jobs as ledger_jobs
from tasks.ledger.database import Transaction
from tasks.ledger.jobs import accept, get, move
from tests.support.bench import DONE, MODEL, URL, Bench
from tests.support.jobs import NEW_JOB


def test_of_two_that_read_the_same_state_one_changes_it(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have read `queued`; one admits, and the other cancels a moment later. Only PostgreSQL lets both read."""
    with ledger.begin() as tx:
        accept(tx, [NEW_JOB])
    both_have_read = threading.Barrier(2)
    first_is_through = threading.Event()
    read, seen = ledger_jobs.get, threading.local()

    def read_together(tx: Transaction, job_id: str) -> Any:
        job = read(tx, job_id)
        if tx.dialect == "postgresql" and not getattr(seen, "once", False):
            seen.once = True
            both_have_read.wait(10)
            if threading.current_thread() is second:
                assert first_is_through.wait(10)
        return job

    monkeypatch.setattr(ledger_jobs, "get", read_together)
    done: dict[Event, bool] = {}

    def change(event: Event) -> None:
        try:
            with ledger.begin() as tx:
                done[event] = move(tx, NEW_JOB.id, event, lease_s=30) is not None
        except LedgerError:
            done.pop(event, None)
        first_is_through.set()

    second = threading.Thread(target=change, args=(Event.CANCEL,))
    first = threading.Thread(target=change, args=(Event.ADMIT,))
    first.start()
    second.start()
    for thread in (first, second):
        thread.join(20)
    monkeypatch.undo()
    with ledger.read() as tx:
        job = get(tx, NEW_JOB.id)
    assert job is not None
    if ledger.engine.dialect.name == "postgresql":
        assert (done, job.state, job.version) == ({Event.ADMIT: True, Event.CANCEL: False}, State.ADMITTED, 2)
    else:  # one after the other: then both may have their way
        assert job.version == 1 + sum(done.values())


@pytest.mark.parametrize(
    "answer", [Accepted("late-1"), Rejected("bad_request", "no", 400), Unsent("ConnectionRefused")]
)
def test_what_was_written_off_is_not_charged_beside_the_answer_that_comes_late(
    bench: Bench, answer: CreateOutcome
) -> None:
    bench.provider.creates = [Unknown("ReadTimeout")]
    job_id = bench.submit()
    bench.turn("admit")
    create(job_id)
    (attempt,) = bench.rows(tables.attempts)
    operating.write_off(bench.ctx, job_id, Decimal("0.30"))
    operating.retry(bench.ctx, job_id, anew=True)
    commit_answer(bench.ctx, Answer(job_id, attempt.id, "main", judge(answer, 1, 1)))
    assert bench.rows(tables.charges) == []
    if bench.state(job_id) is State.GENERATING:
        bench.provider.polls = [DONE]
        bench.turn("sweep")
        bench.look()
        operating.cancel(bench.ctx, job_id)
        assert [row.provider_task_id for row in bench.rows(tables.charges)] == ["late-1"]


def test_a_request_stays_in_the_stream_until_it_is_committed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.enter({"job": "job-1", "request": json.dumps({"model": MODEL, "first_frame_image": URL})})

    def refused(*_: Any, **__: Any) -> None:
        raise LedgerError("away")

    with monkeypatch.context() as patch:
        patch.setattr("tasks.accept.accept_jobs", refused)
        with pytest.raises(LedgerError):
            bench.turn("accept")
    assert bench.ctx.pulse.redis.xlen(keys.REQUESTS) == 1
    bench.turn("accept")
    assert bench.state("job-1") is State.QUEUED
    assert bench.ctx.pulse.redis.xlen(keys.REQUESTS) == 0
