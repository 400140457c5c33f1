"""Connections to the database and to the provider that break at the worst byte, while jobs flow through real workers.

Each fault ends with all jobs completed and the books compared; a job is in doubt only where nobody but the provider can
know. Redis has modules of its own (`test_redis_fails.py`, `test_redis_away.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from schemas.handle import Handle
from schemas.jobs import State
from tasks import operating
from tasks.ledger import tables
from tests.support.gate import Gate
from tests.support.postgres import postgres_server
from tests.support.proxy import PASS, Fault, FaultProxy
from tests.support.valkey import valkey_server
from tests.support.waiting import wait_until
from tests.support.works import Works, simulator
from workers.pools import POOLS

# The waits of a test may come to more than the usual bound.
pytestmark = pytest.mark.timeout(300)

WAY = ["accept", "admit", "begin", "accepted", "completed", "stored", "charged"]


@dataclass(frozen=True)
class Ways:
    """The works, and the workers' ways to the database and to the provider; the test itself goes others."""

    works: Works
    database: FaultProxy
    provider: FaultProxy
    doubted: set[str] = field(default_factory=set)
    """Jobs that were in doubt, and that the test has resolved."""

    def flows_on(self, jobs: list[Handle]) -> None:
        """Those jobs and some more are completed by the workers that there were, and the books are right."""
        self.database.fault = self.provider.fault = PASS
        jobs = jobs + self.works.submit(2)
        self.works.wait(jobs, State.COMPLETED, within_s=60)
        self.works.check_books(doubted=self.doubted)
        assert len(self.works.crew.living()) == len(self.works.crew.all) == len(POOLS)


@contextmanager
def through_proxies(folder: Path) -> Iterator[Ways]:
    with ExitStack() as stack:
        (folder / "valkey").mkdir(parents=True)
        broker = stack.enter_context(valkey_server(folder / "valkey"))
        server = stack.enter_context(postgres_server())
        port = stack.enter_context(simulator(folder / "simulator"))
        database = stack.enter_context(FaultProxy(server.port))
        provider = stack.enter_context(FaultProxy(port))
        addresses = {
            "REELWORKS_REDIS_URL": broker.url,
            "REELWORKS_DATABASE_URL": f"postgresql+psycopg://postgres@127.0.0.1:{database.port}/postgres",
            "REELWORKS_PROVIDER_URL": f"http://127.0.0.1:{provider.port}",
            "REELWORKS_OUTPUT_PRIVATE": "127.0.0.1",
            "REELWORKS_HTTP_CREATE_READ_S": "3",
            "REELWORKS_HTTP_DOWNLOAD_READ_S": "2",
            "REELWORKS_DOWNLOAD_TRIES": "40",
        }
        bill = folder / "simulator" / "bill.jsonl"
        made = Works(folder, addresses, bill, ledger_url=server.url)
        stack.callback(made.close)
        made.gate, made.broker = Gate(port), broker
        stack.callback(made.gate.close)
        made.crew.start()
        yield Ways(made, database, provider)


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    with through_proxies(tmp_path_factory.mktemp("ways") / "parts") as made:
        yield made


@pytest.fixture(autouse=True)
def calm(ways: Ways) -> Iterator[None]:
    yield
    ways.database.fault = ways.provider.fault = PASS
    ways.works.script()


def test_the_lost_word_of_a_commit_neither_repeats_nor_forgets_what_was_committed(ways: Ways) -> None:
    """Of each commit, for a while: it is done, and whoever asked for it is told that the connection broke."""
    before = ways.database.cuts
    jobs = ways.works.submit(4)
    ways.database.fault = Fault(cut_on=b"COMMIT", forwarded=True)
    wait_until(lambda: ways.database.cuts >= before + 40, within_s=60, what="commits without a word")
    ways.flows_on(jobs)


def test_a_commit_that_is_cut_off_in_its_words_has_not_happened(ways: Ways) -> None:
    before = ways.database.cuts
    jobs = ways.works.submit(4)
    ways.database.fault = Fault(cut_on=b"COMMIT")
    wait_until(lambda: ways.database.cuts >= before + 40, within_s=60, what="commits that did not arrive")
    ways.flows_on(jobs)


def test_a_database_that_is_lost_without_a_word_holds_nobody_for_good(ways: Ways) -> None:
    """The proxy acknowledges what is sent, which a machine that is gone does not: the time-out is done here."""
    ways.works.script({"poll": {"latency_s": 300}})
    jobs = ways.works.submit(4)
    ways.works.wait(jobs, State.GENERATING, State.DOWNLOADING, State.COMPLETED)
    for _ in range(3):
        made = ways.database.connections
        ways.database.half_open()
        jobs += ways.works.submit(1)
        wait_until(lambda: ways.database.connections > made, what="new connections beside the dead ones")  # noqa: B023
        ways.database.cut()
    ways.flows_on(jobs)


def test_a_slow_database_costs_time_and_nothing_else(ways: Ways) -> None:
    ways.database.fault = Fault(latency_s=0.05)  # each way: 100 ms from a question to its answer
    jobs = ways.works.submit(1)
    ways.works.wait(jobs, State.COMPLETED, within_s=60)
    assert {tuple(ways.works.events(job.id)) for job in jobs} == {tuple(WAY)}
    ways.flows_on(jobs)


def test_a_create_whose_answer_is_cut_in_the_id_is_in_doubt_and_is_not_repeated(ways: Ways) -> None:
    works = ways.works
    known = {create.task for create in works.bill().creates}
    ways.provider.fault = Fault(cut_on=b'"id"', direction="to_client")
    jobs = works.submit(2)
    works.wait(jobs, State.UNCERTAIN)
    ways.provider.fault = PASS
    made = [create.task for create in works.bill().creates if create.task not in known]
    assert len(made) == 2
    assert {tuple(works.events(job.id)) for job in jobs} == {("accept", "admit", "begin", "unknown")}
    with works.context() as ctx:  # which of the two is whose does not matter to the books
        for job, task in zip(jobs, made, strict=True):
            operating.bind(ctx, job.id, task)
            ways.doubted.add(job.id)
    ways.flows_on(jobs)
    assert len(works.bill().creates) == len(known) + 4


def test_an_output_that_breaks_off_again_and_again_is_fetched_to_its_end(ways: Ways) -> None:
    (whole,) = ways.works.submit(1)
    ways.works.wait([whole], State.COMPLETED)
    (output,) = ways.works.rows(tables.outputs, whole.id)
    before = ways.provider.cuts
    # No connection lives long enough for the whole: each can bring a quarter of it at most.
    ways.provider.fault = Fault(cut_after_bytes=output.size_bytes // 4, direction="to_client")
    jobs = ways.works.submit(3)
    ways.works.wait(jobs, State.COMPLETED)
    assert ways.provider.cuts >= before + 3 * len(jobs)
    ways.flows_on(jobs)


def test_a_provider_that_refuses_connections_is_asked_again_and_nothing_is_in_doubt(ways: Ways) -> None:
    ways.works.script({"poll": {"latency_s": 300}})
    early = ways.works.submit(2)
    ways.works.wait(early, State.GENERATING, State.DOWNLOADING, State.COMPLETED)
    ways.provider.fault = Fault(refuse=True)
    late = ways.works.submit(2)
    for job in late:
        wait_until(lambda: ways.works.events(job.id).count("unsent") > 2, what="creates that were not sent")  # noqa: B023
    ways.flows_on(early + late)
    assert not any("unknown" in ways.works.events(job.id) for job in early + late)


def test_a_provider_that_swallows_all_leaves_in_doubt_what_was_being_created_and_nothing_else(ways: Ways) -> None:
    works = ways.works
    works.script({"poll": {"latency_s": 1500}})
    early = works.submit(2)
    works.wait(early, State.GENERATING, State.DOWNLOADING)
    creates, made = len(works.bill().creates), ways.provider.connections
    ways.provider.fault = Fault(swallow=True)
    wait_until(lambda: ways.provider.connections > made + 2, what="polls into the void")
    late = works.submit(1)
    works.wait(late, State.UNCERTAIN)
    ways.provider.fault = PASS
    works.script()
    assert len(works.bill().creates) == creates
    with works.context() as ctx:
        operating.create_anew(ctx, late[0].id)
        ways.doubted.add(late[0].id)
    works.wait(early + late, State.COMPLETED)
    assert {tuple(works.events(job.id)) for job in early} == {tuple(WAY)}
    assert len(works.bill().creates) == creates + 1
    first, second = sorted(works.rows(tables.attempts, late[0].id), key=lambda row: row.number)
    assert (first.outcome, second.outcome) == ("unknown", "accepted")
    ways.flows_on([])
