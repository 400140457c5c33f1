"""The database goes away, and comes back, while jobs flow: real servers and workers, with a create's answer on its way.

The worst moment is when the provider has accepted a create and its answer finds nobody who could write it down. So each
outage here begins while answers are held back, and they are let go into it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from schemas.jobs import State
from tests.support.postgres import Postgres, postgres_server
from tests.support.waiting import wait_until
from tests.support.works import Works, works

# The waits of a test may come to more than the usual bound.
pytestmark = pytest.mark.timeout(300)

CREATE = b"POST "
LONG_LEASE = {"REELWORKS_CREATE_LEASE_S": 120}
"""Above any outage, as it is in production."""
WAY = ["accept", "admit", "begin", "accepted", "completed", "stored", "charged"]

Outage = Callable[[Postgres], AbstractContextManager[None]]


@contextmanager
def dead(server: Postgres) -> Iterator[None]:
    """The server dies on the spot, and recovers from its log when it is started again."""
    server.stop("immediate")
    try:
        yield
    finally:
        server.start()


@contextmanager
def stopped(server: Postgres) -> Iterator[None]:
    server.stop("fast")
    try:
        yield
    finally:
        server.start()


@contextmanager
def standby(server: Postgres) -> Iterator[None]:
    """What answers is a standby: it is read, and refuses every write."""
    server.read_only(True)
    try:
        yield
    finally:
        server.read_only(False)


@contextmanager
def full(server: Postgres) -> Iterator[None]:
    with server.taken_by_others():
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres_server(max_connections=60, superuser_reserved_connections=0) as made:
        yield made


@pytest.fixture(scope="module")
def running(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Works]:
    """All parts on PostgreSQL, with one worker of each pool, which outlive every outage."""
    with works(tmp_path_factory.mktemp("works") / "parts", server.url) as made:
        made.crew.start(**LONG_LEASE)
        yield made


def flows_on(running: Works, outage: AbstractContextManager[None]) -> None:
    """Jobs go in before, during and after an outage that begins while creates are being answered."""
    workers = running.crew.living()
    spooled = running.crew.texts().count("answer_spooled")
    running.gate.shut(CREATE)
    jobs = running.submit(3)
    wait_until(lambda: running.gate.held == 3, what="the provider's answers on their way")
    with outage:
        running.gate.let_go()
        wait_until(lambda: running.spool.waiting() == 3, within_s=60, what="the answers in the spool")
        jobs += running.submit(2)
    running.wait(jobs, State.COMPLETED)
    assert {tuple(running.events(job.id)) for job in jobs} == {tuple(WAY)}
    running.check_books()
    assert running.crew.texts().count("answer_spooled") == spooled + 3
    assert running.crew.living() == workers


@pytest.mark.parametrize("outage", [dead, stopped, standby, full])
def test_what_the_provider_answers_while_postgresql_is_away_is_neither_lost_nor_asked_again(
    running: Works, server: Postgres, outage: Outage
) -> None:
    flows_on(running, outage(server))


def test_a_worker_takes_no_messages_while_the_database_is_away_and_says_so_in_one_line(
    running: Works, server: Postgres
) -> None:
    workers = running.crew.living()
    before = {worker.name: len(worker.text()) for worker in workers}

    def said(event: str) -> bool:
        return all(event in worker.text()[before[worker.name] :] for worker in workers)

    with dead(server):
        wait_until(lambda: said("database_not_reached"), what="workers that take nothing")
        (job,) = running.submit()
    wait_until(lambda: said("messages_taken_again"), what="workers that are back")
    running.wait([job], State.COMPLETED)
    failed = [line for line in running.crew.texts().splitlines() if "lane_turn_failed" in line]
    assert failed
    assert all("Traceback" not in line for line in failed)


def test_what_a_worker_spooled_before_it_died_is_written_by_the_next(running: Works, server: Postgres) -> None:
    (worker,) = running.crew.living("create")
    running.gate.shut(CREATE)
    (job,) = running.submit()
    wait_until(lambda: running.gate.held, what="the provider's answer on its way")
    (running.crew.stage / "spool.after_rename.die").write_text(job.id)
    with dead(server):
        running.gate.let_go()
        worker.ended(60)
        assert running.spool.waiting() == 1
        (following,) = running.crew.begin("create", **LONG_LEASE)
        wait_until(
            lambda: "Connected to redis" in following.text(), within_s=60, what="the next worker, without a database"
        )
    following.ready()
    running.wait([job], State.COMPLETED)
    assert running.events(job.id) == WAY
    running.check_books()
    assert following.lives


def test_a_worker_that_stands_still_in_a_transaction_keeps_its_locks_from_the_others_for_a_while_only(
    running: Works,
) -> None:
    (still,) = running.crew.living("lanes")
    (running.crew.stage / "admit.before_commit.stop").touch()
    wait_until(lambda: still.is_stopped, what="the lanes standing still, with the lock of whoever admits")
    running.crew.start("lanes")
    jobs = running.submit(2)
    running.wait(jobs, State.COMPLETED)
    still.wake()
    running.wait(running.submit(2), State.COMPLETED)
    running.check_books()
    assert still.lives


def test_a_sqlite_that_others_keep_locked_costs_nothing_but_time(tmp_path: Path) -> None:
    with works(tmp_path / "parts", f"sqlite:///{tmp_path}/ledger.db") as running:
        running.crew.start(**LONG_LEASE)
        flows_on(running, locked(tmp_path / "ledger.db"))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program writes, and does not come to an end: workers wait for half a minute before they give up."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=20)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
