"""A worker that stalled while it had a claim, and finds that others have gone on without it, on both databases."""

from __future__ import annotations

from typing import Any

import pytest

import tasks.create
import tasks.fetching
from schemas.jobs import State
from tasks.create import create
from tasks.domain.answers import Unsent
from tasks.finish import download
from tasks.ledger import tables
from tasks.ledger.jobs import claim
from tests.support.bench import Bench
from tests.support.situations import downloading
from tests.support.waiting import wait_until


def test_a_worker_that_stalled_before_its_attempt_does_not_begin_on_a_later_admission(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bench.submit()
    bench.turn("admit")
    body = tasks.create.create_body

    def stalls(*request: Any, **images: Any) -> Any:
        monkeypatch.setattr(tasks.create, "create_body", body)
        bench.lapse()
        bench.turn("sweep")
        bench.provider.creates.append(Unsent("ConnectionRefused"))
        create(job_id)
        wait_until(lambda: bench.turn("admit") and bench.state(job_id) is State.ADMITTED, what="the next turn")
        return body(*request, **images)

    monkeypatch.setattr(tasks.create, "create_body", stalls)
    create(job_id)
    assert len(bench.provider.created) == 1
    assert bench.state(job_id) is State.ADMITTED
    assert [row.outcome for row in bench.rows(tables.attempts)] == ["unsent"]


def test_outputs_of_a_worker_that_stalled_do_not_win_over_whoever_is_at_it_now(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = downloading(bench)

    def stalls(*_: Any) -> Any:
        bench.lapse()
        bench.turn("sweep")
        with bench.ctx.ledger.begin() as tx:
            assert claim(tx, job_id, State.DOWNLOADING, 30) is not None
        return []

    monkeypatch.setattr(tasks.fetching, "_fetch_all", stalls)
    download(job_id)
    (row,) = bench.rows(tables.jobs)
    assert (row.state, row.claimed, row.tries) == ("downloading", True, 2)
