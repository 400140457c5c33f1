"""Situations that a job can be in, made on a bench."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from schemas.jobs import State
from tasks import context
from tasks.create import create
from tasks.domain.answers import Completed, RemoteOutput, Unknown, Usage
from tasks.finish import download, record
from tasks.ledger import tables
from tasks.policy import Policy
from tests.support.bench import Bench

OUTPUT = RemoteOutput("video", "https://films.example/0.mp4")
FILM_BYTES = bytes(range(256)) * 4
"""What stands for a film where nobody plays it."""
FILM = Completed((OUTPUT,), Usage(Decimal("0.28"), raw={"cost": "0.28"}))


def uncertain(bench: Bench, **request: Any) -> str:
    """A job whose create got no answer."""
    job_id = bench.submit(**request)
    bench.turn("admit")
    bench.provider.creates.append(Unknown("ReadTimeout"))
    create(job_id)
    assert bench.state(job_id) is State.UNCERTAIN
    return job_id


def downloading(bench: Bench, **request: Any) -> str:
    job_id = bench.generating(**request)
    bench.provider.polls.append(FILM)
    bench.look()
    assert bench.state(job_id) is State.DOWNLOADING
    return job_id


def failed_download(bench: Bench) -> str:
    """A job whose output can't be fetched: nobody listens at its address."""
    job_id = downloading(bench)
    for _ in range(20):
        if bench.state(job_id) is State.FAILED:
            return job_id
        bench.provider.polls.append(FILM)
        download(job_id)
        bench.lapse()
    raise AssertionError("the download never gave up")


def completed(bench: Bench, job_id: str, film: Completed = FILM) -> None:
    """Bring a job that was accepted to its end; its film is one of `quick_films`."""

    bench.admit(job_id)
    create(job_id)
    bench.provider.polls.append(film)
    bench.look()
    download(job_id)
    record(job_id)
    assert bench.state(job_id) is State.COMPLETED


def amounts(bench: Bench) -> dict[str, Decimal]:
    return {row.provider_task_id: row.amount_usd for row in bench.rows(tables.charges)}


def with_policy(bench: Bench, **changes: Any) -> Bench:
    changed: Policy = replace(bench.ctx.policy, **changes)
    ctx = replace(bench.ctx, policy=changed)
    context.install(lambda: ctx)
    return replace(bench, ctx=ctx)


def have_strays(bench: Bench, count: int, age_s: float = 0.0) -> None:
    """Provider tasks `stray-0` and so on of one job, all of them due, the first one the longest."""
    job_id = bench.submit()
    with bench.ctx.ledger.begin() as tx:
        row = {"job_id": job_id, "key_alias": "main", "begun_at": tx.now - timedelta(seconds=age_s)}
        names = [
            {
                "id": f"attempt-{n}",
                "number": n + 1,
                "provider_task_id": f"stray-{n}",
                "settle_at": tx.now - timedelta(seconds=count - n),
            }
            for n in range(count)
        ]
        tx.execute(sa.insert(tables.attempts), [{**row, **name} for name in names])
