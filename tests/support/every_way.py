"""Jobs on a bench that go every way there is: through each step, and to each end."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from schemas import data_url, keys
from schemas.jobs import TERMINAL, Output, State
from tasks import answering, context, fetching, finish, operating
from tasks.create import create
from tasks.domain.answers import Accepted, Failed, Rejected, Running, Unsent
from tasks.domain.budgets import EVERYONE, Budget, Period, WhenUsedUp
from tasks.domain.creating import Answer, judge
from tasks.domain.doubt import DoubtPolicy
from tasks.finish import download, record
from tasks.ledger import tables
from tasks.ledger.leases import claim
from tasks.ledger.spending import set_budget
from tasks.media.errors import FetchInterrupted
from tasks.media.outputs import OutputFetcher
from tests.support.bench import MODEL, URL, Bench
from tests.support.failing import away
from tests.support.pictures import picture
from tests.support.receiver import receiving
from tests.support.situations import FILM, downloading, uncertain, with_policy
from tests.support.waiting import wait_until

NOBODY = "http://127.0.0.1:9/hook"
"""Nobody listens there."""


def backdate(quiet: Bench, column: str, table: sa.Table = tables.jobs) -> None:
    with quiet.ctx.ledger.begin() as tx:
        long_ago = tx.now - timedelta(hours=1)
        tx.execute(sa.update(table).where(table.c[column].is_not(None)).values({column: long_ago}))


def stored(_fetcher: OutputFetcher, _remote: Any, name: str, index: int, _expected: Any) -> Output:
    return Output(index, "video", f"{name}.mp4", 1, "0" * 64)


def accept_all_kinds(bench: Bench, quiet: Bench) -> None:
    request = {"model": MODEL, "first_frame_image": URL, "idempotency_key": "k"}
    known = bench.producer.submit(**request)
    bench.turn("accept")
    bench.enter({"job": known.id, "request": json.dumps(request)})
    bench.enter({"job": "job-2", "request": json.dumps(request)})  # whose key is another job's
    bench.enter({"job": "job-3", "request": "{"})
    bench.ctx.pulse.redis.xadd(keys.COMMANDS, {"v": "1", "command": "explode", "job": known.id})
    for _ in range(2):
        bench.turn("accept")
    bench.submit(deadline_s=60)
    backdate(quiet, "deadline_at")
    bench.turn("admit")


def create_to_every_end(bench: Bench, quiet: Bench) -> None:
    for outcome in (Unsent("ConnectionRefusedError"), Rejected("2013", "bad"), RuntimeError("its worker dies")):
        job_id = bench.admitted(first_frame_image=data_url(picture()))
        bench.provider.creates.append(outcome)
        if isinstance(outcome, Exception):
            with pytest.raises(RuntimeError):
                create(job_id)
        else:
            create(job_id)
        if isinstance(outcome, Rejected):
            operating.retry(bench.ctx, job_id, command="1-1")
            operating.cancel(bench.ctx, job_id)
    for others in (
        replace(bench.ctx, providers={}),
        replace(bench.ctx, policy=replace(bench.ctx.policy, deaths_most=0)),
    ):
        job_id = bench.admitted()
        context.install(lambda others=others: others)
        create(job_id)
    context.install(lambda: bench.ctx)
    quiet.lapse()
    bench.turn("sweep")  # parks what its worker died over


def complete_in_several_tries(bench: Bench, quiet: Bench, monkeypatch: pytest.MonkeyPatch) -> str:
    job_id = downloading(bench, callback_url=NOBODY)
    with monkeypatch.context() as patch:
        patch.setattr(fetching, "_fetch_all", away)
        with pytest.raises(sa.exc.OperationalError):
            download(job_id)
    quiet.lapse()
    bench.turn("sweep")
    with monkeypatch.context() as patch:

        def interrupted(*_: Any) -> Output:
            raise FetchInterrupted("late")

        patch.setattr(OutputFetcher, "keep", interrupted)
        download(job_id)
    quiet.lapse()
    bench.provider.polls.append(FILM)
    monkeypatch.setattr(OutputFetcher, "keep", stored)
    with quiet.ctx.ledger.begin() as tx:
        claimed = claim(tx, job_id, State.DOWNLOADING, 0)
    assert claimed is not None
    finish._still_mine(bench.ctx, [claimed])
    quiet.lapse()
    download(job_id)
    record(job_id)
    assert bench.state(job_id) is State.COMPLETED
    return job_id


def end_otherwise(bench: Bench, quiet: Bench) -> None:
    for answer in (Failed("010004095", "no luck"), FILM):
        job_id = bench.generating()
        bench.provider.polls += [Running(0.5), answer]
        bench.look()
        bench.look()
        if answer is FILM:
            operating.cancel(bench.ctx, job_id)
        else:
            operating.retry(bench.ctx, job_id, anew=True)
    bound, off, anew = uncertain(bench), uncertain(bench), uncertain(bench)
    bench.provider.polls.append(Running(0.5))
    operating.bind(bench.ctx, bound, "found-1")
    (attempt,) = [row.id for row in quiet.rows(tables.attempts) if row.job_id == off]
    operating.write_off(bench.ctx, off, FILM.usage.cost_usd)
    answering.commit_answer(bench.ctx, Answer(off, attempt, "main", judge(Accepted("late-1"), 1, 1)))
    backdate(quiet, "changed_at")
    backdate(quiet, "settle_at", tables.attempts)
    bench.provider.polls.append(FILM)
    bench.turn("sweep")  # asks what the late one cost, and creates anew by policy
    assert bench.state(anew) is State.QUEUED


def tell_callers(bench: Bench, quiet: Bench) -> None:
    """Messages that arrive, that nobody wants any more, that are put off, and that wait for who is away."""
    with receiving() as receiver:
        for answer in (410, 204):
            receiver.answers.append(answer)
            operating.cancel(bench.ctx, bench.submit(callback_url=f"{receiver.url}/hook"))
            send_webhooks(bench)
    for _ in range(bench.ctx.policy.webhook.failures_most):
        operating.cancel(bench.ctx, bench.submit(callback_url=NOBODY))
        send_webhooks(bench)
        backdate(quiet, "due_at", tables.webhooks)
    operating.cancel(bench.ctx, bench.submit(callback_url=NOBODY))
    send_webhooks(bench)
    with quiet.ctx.ledger.begin() as tx:
        tx.execute(sa.update(tables.webhooks).values(since=tx.now - timedelta(days=2)))
    backdate(quiet, "due_at", tables.webhooks)
    send_webhooks(bench)
    assert not [row for row in quiet.rows(tables.webhooks) if row.due_at is not None]


def send_webhooks(bench: Bench) -> None:
    """Turns of the lane, and all that they send to its end."""
    while bench.turn("notify") == 0:
        pass
    all_sent = lambda: bench.ctx.webhooks.room() == bench.ctx.policy.webhook.slots  # noqa: E731
    wait_until(all_sent, what="the end of what was sent")


def prune_what_ended(bench: Bench, quiet: Bench, completed: str) -> None:
    """Have all that is kept for a while go, but for one job; a picture is asked for again just before."""
    refused = bench.admitted(first_frame_image=data_url(picture()))
    bench.provider.creates.append(Rejected("2013", "bad"))
    create(refused)
    quiet.lapse()
    bench.turn("sweep")
    with quiet.ctx.ledger.begin() as tx:
        ended = tables.jobs.c.state.in_(sorted(TERMINAL)) & (tables.jobs.c.id != completed)
        values = {"changed_at": tx.now - timedelta(days=9), "lease_until": None}
        tx.execute(sa.update(tables.jobs).where(ended).values(values))
        tx.execute(sa.update(tables.attempts).values(settle_at=None))
    bench = with_policy(bench, outputs_days=1.0)
    bench.turn("sweep")
    operating.retry(bench.ctx, refused)
    bench.submit(first_frame_image=data_url(picture()))
    backdate(quiet, "due_at", tables.removals)
    bench.turn("sweep")
    bench = with_policy(bench, jobs_days=1.0)
    bench.turn("sweep")
    assert completed in {row.id for row in quiet.rows(tables.jobs)}


def go_every_way(bench: Bench, quiet: Bench, monkeypatch: pytest.MonkeyPatch) -> tuple[Bench, str]:
    """Have jobs go through every step, and to every end. Gives the bench with its policy, and a job that completed."""
    policy = {"open_tasks_per_key": 99, "uncertain": DoubtPolicy(retry_after_s=60, max_extra=1)}
    bench = with_policy(bench, **policy)
    with quiet.ctx.ledger.begin() as tx:  # who admits asks what is held in doubt where a budget refuses, and not else
        set_budget(tx, Budget(EVERYONE, Period.MONTH, Decimal(1000), WhenUsedUp.REFUSE))
    accept_all_kinds(bench, quiet)
    create_to_every_end(bench, quiet)
    completed = complete_in_several_tries(bench, quiet, monkeypatch)
    end_otherwise(bench, quiet)
    tell_callers(bench, quiet)
    bench.generating()
    bench.ctx.pulse.redis.flushall()
    bench.turn("sweep")
    prune_what_ended(bench, quiet, completed)
    return with_policy(bench, outputs_days=1.0, jobs_days=1.0), completed


def have_ended(quiet: Bench, completed: str, count: int, prefix: str) -> None:
    """Have `count` more jobs stand in the ledger as `completed` does, once the sweep has nothing to see to any more."""
    with quiet.ctx.ledger.begin() as tx:
        for table in (tables.jobs, tables.timeline, tables.attempts, tables.outputs, tables.charges, tables.webhooks):
            owner = table.c.id if table is tables.jobs else table.c.job_id
            found = sa.select(*(column.label(column.key) for column in table.c)).where(owner == completed)
            rows = [dict(row) for row in tx.execute(found).mappings()]
            copies = [{**row, owner.name: f"{prefix}-{n}"} for row in rows for n in range(count)]
            for n, row in enumerate(copies):
                own = {"provider_task_id": f"{prefix}-task-{n}", "id": f"{prefix}-{n}", "lease_until": None}
                row.update({name: value for name, value in own.items() if name in row})
            tx.execute(sa.insert(table), copies)
        owners = [f"{prefix}-{n}" for n in range(count)]
        tx.execute(sa.insert(tables.inputs), [{"name": f"{owner}.png", "job_id": owner} for owner in owners])
    with quiet.ctx.ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # PostgreSQL's indexes hold what was undone as well, until it is swept out.
        connection.execute(sa.text("VACUUM ANALYZE" if connection.dialect.name == "postgresql" else "ANALYZE"))
