"""Workers that stand still, are ended, replaced (also by another version), or die over one job.

Real processes, on both databases.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest
import sqlalchemy as sa

from schemas.handle import Handle
from schemas.jobs import State
from schemas.requests import parse_request
from tasks import operating
from tasks.context import Context
from tasks.domain.answers import Accepted, Completed, FinalAnswer
from tasks.ledger import tables
from tasks.vtrix.mapping import create_body
from tests.support.postgres import postgres_server
from tests.support.samples import sample
from tests.support.waiting import wait_until
from tests.support.works import MODEL, Works, request, works
from workers.pools import POOLS

# The waits of a test may come to more than the usual bound.
pytestmark = pytest.mark.timeout(300)

CREATE, FILES = b"POST ", b"GET /files/"
WAY = ["accept", "admit", "begin", "accepted", "completed", "stored", "charged"]
# Short, and yet long enough for a slow commit: after 3 s nothing is sent any more, after 9 s an attempt is given up.
IMPATIENT = {
    "REELWORKS_CREATE_START_S": 3,
    "REELWORKS_HTTP_CREATE_READ_S": 5,
    "REELWORKS_HTTP_CREATE_TOTAL_S": 5,
    "REELWORKS_CREATE_LEASE_S": 9,
}
GRACE_S = 20.0


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def running(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Works]:
    """All parts but the workers; a test starts those that it is about, and finds the others as they were left."""
    folder = tmp_path_factory.mktemp("works")
    with ExitStack() as stack:
        url = f"sqlite:///{folder}/ledger.db"
        if request.param == "postgresql":
            url = stack.enter_context(postgres_server()).url
        yield stack.enter_context(works(folder / "parts", url))


@pytest.fixture(autouse=True)
def calm(running: Works) -> Iterator[None]:
    """Whatever a test holds back or puts in the way is gone after it."""
    yield
    running.gate.let_go()
    for left in running.crew.stage.iterdir():
        left.unlink()


def crewed(running: Works, *pools: str) -> None:
    """See to it that each of these pools has a worker with the usual settings."""
    missing = [name for name in pools if not running.crew.living(name)]
    if missing:
        running.crew.start(*missing)


def test_an_id_that_a_worker_gets_after_its_long_sleep_is_still_bound(running: Works) -> None:
    crewed(running, "lanes", "finish")
    worker = running.crew.only("create", **IMPATIENT)
    running.gate.shut(CREATE, after_bytes=20)
    (job,) = running.submit()
    wait_until(lambda: running.gate.held, what="the provider's answer on its way")
    worker.stop()
    running.gate.let_go()
    running.wait([job], State.UNCERTAIN)
    assert running.bill().creates[-1].task not in {
        row.provider_task_id for row in running.rows(tables.attempts, job.id)
    }
    worker.wake()
    running.wait([job], State.COMPLETED)
    assert running.events(job.id) == [*WAY[:3], "unknown", *WAY[3:]]
    running.check_books()


def test_a_worker_that_slept_before_it_sent_sends_nothing_any_more(running: Works) -> None:
    crewed(running, "lanes", "finish")
    worker = running.crew.only("create", **IMPATIENT)
    creates = len(running.bill().creates)
    (running.crew.stage / "create.begin.after_commit.stop").touch()
    (job,) = running.submit()
    wait_until(lambda: worker.is_stopped, what="the worker standing still")
    running.wait([job], State.UNCERTAIN)
    worker.wake()
    running.wait([job], State.COMPLETED)
    assert running.events(job.id) == [*WAY[:3], "unknown", "unsent", *WAY[1:]]
    slept, sent = sorted(running.rows(tables.attempts, job.id), key=lambda row: row.number)
    assert (slept.outcome, slept.reason, sent.outcome) == ("unsent", "WorkerSlept", "accepted")
    assert len(running.bill().creates) == creates + 1
    running.check_books()


def test_a_download_that_wakes_after_another_worker_was_first_changes_nothing(running: Works) -> None:
    crewed(running, "lanes", "create")
    late = running.crew.only("finish")
    running.gate.shut(FILES, after_bytes=1000)
    (job,) = running.submit()
    wait_until(lambda: running.gate.held, what="a download in the middle")
    late.stop()
    running.gate.let_go()
    running.crew.start("finish")
    running.wait([job], State.COMPLETED)
    before = everything_about(running, job)
    assert len(before["files"]) == 1
    late.wake()
    late.terminate()  # it finishes what it was at
    assert late.ended(GRACE_S) == 0
    assert everything_about(running, job) == before
    assert list((running.store / ".parts").iterdir()) == []
    running.check_books()


def everything_about(running: Works, job: Handle) -> dict[str, Any]:
    files = {path.name: sha256(path.read_bytes()).hexdigest() for path in running.store.glob(f"*/{job.id}/*")}
    kept = {
        name: running.rows(getattr(tables, name), job.id) for name in ("attempts", "charges", "outputs", "timeline")
    }
    row = running.row(job.id)._asdict()
    del row["lease_until"]  # the sweep's, which is still to make sure that those who wait were told
    return {"job": row, "files": files, **kept}


def test_a_worker_that_is_told_to_end_finishes_what_it_began_and_begins_nothing(running: Works) -> None:
    crewed(running, "lanes", "finish")
    running.crew.only("create", REELWORKS_CREATE_CONCURRENCY=1)
    running.gate.shut(FILES)
    (loading,) = running.submit()
    wait_until(lambda: running.gate.held, what="a download under way")
    running.gate.shut(CREATE, FILES)
    begun, waiting = running.submit(2)
    wait_until(lambda: running.gate.held, what="a create under way")
    running.wait([begun, waiting], State.CREATING, State.ADMITTED)
    if running.state(begun.id) is State.ADMITTED:
        begun, waiting = waiting, begun
    creates = len(running.bill().creates)
    ending = running.crew.living()
    assert len(ending) == len(POOLS)
    creating = next(worker for worker in ending if worker.name.startswith("create"))
    threads = creating.threads
    for worker in ending:
        worker.terminate()
    # What takes messages has threads of its own; when they are gone, none is taken any more.
    wait_until(lambda: creating.threads < threads, what="the worker closing its ears")
    (later,) = running.submit()
    running.gate.let_go()
    assert [worker.ended(GRACE_S) for worker in ending] == [0] * len(POOLS)

    assert running.state(loading.id) is State.RECORDING
    assert running.state(begun.id) is State.GENERATING
    assert running.state(waiting.id) is State.ADMITTED
    assert len(running.bill().creates) == creates
    crewed(running, *POOLS)
    running.wait([loading, begun, waiting, later], State.COMPLETED)
    running.check_books()


def test_a_job_that_kills_its_workers_is_parked_and_holds_nobody_up(running: Works) -> None:
    crewed(running, "lanes", "create")
    dying = running.crew.only("finish")
    running.gate.shut(CREATE)
    (poison,) = running.submit()
    deadly = running.crew.stage / "output.before_rename.die"
    deadly.write_text(poison.id)
    running.gate.let_go()
    others = running.submit(4)
    running.wait([poison], State.FAILED)
    row = running.row(poison.id)
    assert (row.error_code, row.error_stage) == ("worker_killed", "downloading")
    assert "3 workers did not come back" in row.error_message
    running.wait(others, State.COMPLETED)

    deadly.unlink()
    with running.context() as ctx:
        operating.retry(ctx, poison.id)
    running.wait([poison], State.COMPLETED)
    running.check_books()
    # A prefork pool that has lost a child may wait for its job for ever when it is told to end; whoever told it kills
    # it when its grace is over.
    dying.kill()


def test_all_workers_are_replaced_under_load_and_nothing_is_lost_or_in_doubt(running: Works) -> None:
    crewed(running, *POOLS)
    jobs: list[Handle] = []
    replaced = threading.Event()

    def flow() -> None:
        while not replaced.wait(1.0):
            jobs.extend(running.submit(1))

    flowing = threading.Thread(target=flow)
    flowing.start()
    try:
        for name in POOLS:
            (old,) = running.crew.living(name)
            count = len(jobs)
            wait_until(lambda: len(jobs) > count + 1, what="jobs flowing")  # noqa: B023
            old.terminate()
            assert old.ended(GRACE_S) == 0
            running.crew.start(name)
    finally:
        replaced.set()
        flowing.join()
    running.wait(jobs, State.COMPLETED)
    assert {tuple(running.events(job.id)) for job in jobs} == {tuple(WAY)}
    running.check_books()


SINCE = {"deaths", "cancel_requested_at", "settle_at"}
"""Columns that the version before does not write."""


def test_what_the_version_before_left_in_the_queue_and_in_the_database_is_worked_off(running: Works) -> None:
    running.crew.end("lanes")  # nobody sends a message of this version
    crewed(running, "create", "finish")
    jobs = [running.producer.handle(f"old-{state}") for state in ("admitted", "downloading", "recording")]
    with running.context() as ctx:
        answers, asked = [finished(ctx) for _ in jobs[1:]], stored_request(ctx)
        with ctx.ledger.begin() as tx:
            now = tx.now
            tx.execute(sa.insert(tables.jobs), [old_row("old-admitted", State.ADMITTED, now, request=asked)])
            for job, state, (task, answer) in zip(jobs[1:], (State.DOWNLOADING, State.RECORDING), answers, strict=True):
                values = {"provider_task_id": task, "generating_at": now, "answer": answer, "request": asked}
                tx.execute(sa.insert(tables.jobs), [old_row(job.id, state, now, **values)])
            moments = [{"job_id": job.id, "seq": 1, "event": "accept", "state": "queued"} for job in jobs]
            tx.execute(sa.insert(tables.timeline), [{**moment, "at": now, "detail": {}} for moment in moments])
    for sent in sample("messages"):
        running.broker.client.lpush(sent["queue"], json.dumps(sent["message"]))
    running.wait(jobs[:1], State.GENERATING)
    running.wait(jobs[1:], State.COMPLETED)
    crewed(running, "lanes")  # for which there is an old message, too
    running.wait(jobs, State.COMPLETED)
    running.check_books()


def finished(ctx: Context) -> tuple[str, dict[str, Any]]:
    """A provider task that has been completed, and its answer as the ledger keeps it."""
    provider = ctx.providers["main"]
    created = provider.create(create_body(parse_request(request()), first_frame=request()["first_frame_image"]))
    assert isinstance(created, Accepted)
    wait_until(lambda: isinstance(provider.poll(created.provider_task_id), Completed), what="the end of the task")
    answer = provider.poll(created.provider_task_id)
    assert isinstance(answer, Completed)
    return created.provider_task_id, FinalAnswer.of(answer).to_json()


def stored_request(ctx: Context) -> dict[str, Any]:
    """A request as a job holds it, its picture in the store."""
    detached, blobs = parse_request(request()).detached()
    for name, data in blobs.items():
        ctx.store.put_input(name, data, "png")
    return detached.to_dict()


def old_row(job_id: str, state: State, now: datetime, **values: Any) -> dict[str, Any]:
    """A job as the version before wrote it: with each of the columns that it knew."""
    known = {column.key for column in tables.jobs.columns} - SINCE
    row = {
        "id": job_id,
        "tenant": "default",
        "fingerprint": "f" * 64,
        "model": MODEL,
        "resolution": "512P",
        "duration_s": 6,
        "priority": 0,
        "estimate_usd": Decimal("0.10"),
        "state": state,
        "version": 2,
        "accepted_at": now,
        "changed_at": now,
        "lease_until": now + timedelta(seconds=600),
        "claimed": False,
        "tries": 0,
        "key_alias": "main",
        **values,
    }
    assert set(row) <= known
    return {name: row.get(name) for name in known}
