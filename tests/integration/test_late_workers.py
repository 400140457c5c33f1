"""A worker that stalled while it had a claim, and finds that others have gone on without it, on both databases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import tasks.create
import tasks.fetching
from schemas import data_url
from schemas.errors import Problem, RequestInvalid
from schemas.jobs import State
from schemas.requests import parse_request
from tasks import context
from tasks.context import Context
from tasks.create import create
from tasks.domain.answers import Accepted, CreateOutcome, Unknown, Unsent
from tasks.domain.job import Job
from tasks.finish import download
from tasks.ledger import tables
from tasks.ledger.leases import claim
from tests.support.bench import Bench
from tests.support.pictures import picture
from tests.support.situations import downloading

STORED = {"first_frame_image": data_url(picture())}
"""A picture that has to be read, and so can kill the worker before anything is sent: it is claimed for that."""


@pytest.mark.parametrize("request_", [{}, STORED], ids=["taken", "claimed"])
def test_a_worker_that_stalled_before_its_attempt_does_not_begin_on_a_later_admission(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, request_: dict[str, Any]
) -> None:
    job_id = bench.submit(**request_)
    bench.turn("admit")
    body = tasks.create.create_body

    def stalls(*request: Any, **images: Any) -> Any:
        monkeypatch.setattr(tasks.create, "create_body", body)
        bench.lapse()
        bench.turn("sweep")
        bench.provider.creates.append(Unsent("ConnectionRefused"))
        create(job_id)
        bench.admit(job_id)
        return body(*request, **images)

    monkeypatch.setattr(tasks.create, "create_body", stalls)
    create(job_id)
    assert len(bench.provider.created) == 1
    assert bench.state(job_id) is State.ADMITTED
    assert [row.outcome for row in bench.rows(tables.attempts)] == ["unsent"]


@pytest.mark.parametrize(("request_", "tries"), [({}, 0), (STORED, 1)], ids=["taken", "claimed"])
def test_only_what_can_kill_a_worker_counts_as_a_try_before_it_is_done(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, request_: dict[str, Any], tries: int
) -> None:
    job_id = bench.admitted(**request_)
    seen = []

    def looks(*_: Any, **__: Any) -> Any:
        seen.extend((row.tries, row.claimed) for row in bench.rows(tables.jobs))
        raise SystemExit  # the worker dies here

    monkeypatch.setattr(tasks.create, "create_body", looks)
    for _ in range(2):
        with pytest.raises(SystemExit):
            create(job_id)
        bench.lapse()
        bench.turn("sweep")
    assert seen == [(tries, tries == 1), (tries * 2, tries == 1)]


@pytest.mark.parametrize("answer", [Accepted("task-1"), Unknown("ReadTimeout")], ids=["accepted", "unknown"])
@pytest.mark.parametrize("unable", ["without the key", "too many deaths", "by other rules"])
def test_a_worker_that_can_not_create_a_job_takes_it_from_nobody_who_can(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, unable: str, answer: CreateOutcome
) -> None:
    job_id = bench.admitted()
    take = tasks.create._take

    def taken_by_two(ctx: Context, which: str) -> Job | None:
        job = take(ctx, which)
        monkeypatch.setattr(tasks.create, "_take", take)
        monkeypatch.setattr(tasks.create, "parse_request", parse_request)
        context.install(lambda: bench.ctx)
        bench.provider.creates.append(answer)
        create(which)  # another worker's doubled message
        if unable == "by other rules":
            monkeypatch.setattr(tasks.create, "parse_request", refuses)
        return job

    def refuses(*_: Any, **__: Any) -> Any:
        raise RequestInvalid([Problem("prompt", "too_long", "is too long")])

    policy = replace(bench.ctx.policy, deaths_most=0) if unable == "too many deaths" else bench.ctx.policy
    providers = {} if unable == "without the key" else bench.ctx.providers
    ours = replace(bench.ctx, policy=policy, providers=providers)
    monkeypatch.setattr(tasks.create, "_take", taken_by_two)
    context.install(lambda: ours)
    create(job_id)
    assert bench.state(job_id) is (State.GENERATING if isinstance(answer, Accepted) else State.UNCERTAIN)
    assert len(bench.provider.created) == 1


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
