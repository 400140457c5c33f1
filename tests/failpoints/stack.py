"""A whole stack in which every process can be made to die at any of the named places, and an operator who tidies up."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest import mock

import redis
import sqlalchemy as sa
from PIL import Image

from ops.simulator.bill import Bill, read_bill
from schemas import data_url
from schemas.jobs import TERMINAL, State
from schemas.producer import Producer
from tasks import operating
from tasks.context import Context
from tasks.failpoints import VARIABLE
from tasks.ledger import tables
from tests.chaos import provider
from tests.failpoints.books import Books
from tests.support.crew import stands_still
from tests.support.postgres import postgres_server
from tests.support.receiver import Receiver, receiving
from tests.support.waiting import wait_until
from workers import stackplan
from workers.embedded import EmbeddedStack, StackOptions
from workers.pools import PoolSizes
from workers.runtime import build
from workers.settings import read_settings
from workers.supervisor import Restarts

DATABASES: Final = ("sqlite", "postgresql")
ROOT: Final = Path(__file__).resolve().parents[2]
MODEL: Final = "minimax_hailuo_02_i2v"
URL: Final = "https://pictures.example/first.jpg"
SPEED: Final = 300.0
# Short leases, so that what dies is found soon; each above what it has to be above (`workers.settings`).
SETTINGS: Final = {
    "POLL_FIRST_S": "0.2",
    "POLL_INTERVAL_S": "0.2",
    "LANE_IDLE_S": "0.1",
    "LANE_TTL_S": "3",
    "LANE_CHECK_S": "0.3",
    "SWEEP_INTERVAL_S": "0.3",
    "HANDOVER_S": "1",
    "WORK_LEASE_S": "2",
    "CREATE_RETRY_S": "0.2",
    "CREATE_START_S": "1",
    "CREATE_LEASE_S": "9",
    "HTTP_CONNECT_S": "1",
    "HTTP_CREATE_READ_S": "6",
    "HTTP_CREATE_TOTAL_S": "6",
    "HTTP_POLL_READ_S": "2",
    "HTTP_POLL_TOTAL_S": "2",
    "POLL_LEASE_S": "4",
    "KEY_PAUSE_S": "0.2",
    "DOWNLOAD_RETRY_S": "0.2",
    "OPEN_TASKS_PER_KEY": "200",
    "HTTP_DOWNLOAD_READ_S": "3",
    "SETTLE_S": "1",
    "WEBHOOK_FIRST_S": "0.2",
    "WEBHOOK_CONNECT_S": "1",
    "WEBHOOK_TOTAL_S": "1",
    "OUTPUTS_DAYS": "0.00003",  # seconds, so that files are pruned while jobs go on; rows tell what was stored
    "DEATHS_MOST": "1000",  # what is parked for killing workers is another promise
}
SCENARIO: Final = [
    {"match": {"prompt_contains": "slow"}, "poll": {"latency_s": SPEED * 30}},
    {"match": {"prompt_contains": "brittle"}, "output": {"fault": "not_a_video"}},
    {"match": {"prompt_contains": "expired"}, "output": {"fault": "url_expired"}},
    {"match": {"prompt_contains": "stuck"}, "output": {"fault": "never_answer"}},
]


@dataclass
class Stack:
    """The running stack, its fuses, and what there is to see of it."""

    embedded: EmbeddedStack
    producer: Producer
    ctx: Context
    fuses: Path
    receiver: Receiver
    ends: dict[str, frozenset[State]] = field(default_factory=dict)
    """How each job may end, in the order in which they were submitted."""
    marks: dict[str, str] = field(default_factory=dict)
    """The job that each mark in a prompt stands for: so the provider's witness knows it."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def jobs(self) -> list[str]:
        return list(self.ends)

    # --- what a test does ---

    def lay(self, place: str) -> None:
        (self.fuses / place).touch()

    def take_away(self) -> None:
        for fuse in self.fuses.iterdir():
            fuse.unlink(missing_ok=True)

    def burnt(self, place: str) -> bool:
        return not (self.fuses / place).exists()

    def submit(
        self,
        *,
        prompt: str = "",
        picture: bool = False,
        tells: bool = False,
        ends: frozenset[State] = frozenset({State.COMPLETED}),
    ) -> str:
        """Ask for a film. `picture`: of one that the store does not have. `tells`: its caller, a tenant of its own,
        wants to be told. `ends`: how the job may end.
        """
        number = next(self._numbers)
        image, mark = data_url(_picture(number)) if picture else URL, f"shot-{number:06d}"
        asked: dict[str, Any] = {"prompt": f"[static] {prompt} {mark}", "resolution": "512P", "duration": 6}
        if tells:
            asked |= {"callback_url": f"{self.receiver.url}/told", "tenant": mark}
        job = self.producer.submit(model=MODEL, first_frame_image=image, **asked)
        self.ends[job.id], self.marks[mark] = ends, job.id
        return job.id

    def wipe(self) -> None:
        """Everything in Redis is gone."""
        with redis.Redis.from_url(str(self.embedded.addresses["redis_url"])) as client:
            client.flushall()

    @contextmanager
    def stopped(self, pool: str) -> Iterator[None]:
        """While the block runs, a pool's worker takes no step, and keeps nobody from SQLite's only lock."""
        pid = wait_until(lambda: self._pid(pool), what=f"the pool {pool}")
        try:
            wait_until(lambda: self._stop(pid), what=f"the pool {pool} standing still without a lock")
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def _stop(self, pid: int) -> bool:
        os.kill(pid, signal.SIGSTOP)
        # The signal is sent, not obeyed: each thread runs on until it notices.
        wait_until(lambda: stands_still(pid), what="every thread standing still")
        if self._writable():
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    def _writable(self) -> bool:
        url = self.ctx.ledger.engine.url
        if url.get_backend_name() != "sqlite":
            return True
        with closing(sqlite3.connect(str(url.database), timeout=2, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            connection.execute("ROLLBACK")
            return True

    def _pid(self, pool: str) -> int | None:
        pids: Any = self.embedded.addresses["pids"]
        found: int | None = pids.get(pool)
        return found

    def child(self, place: str, what: str, job_id: str) -> int:
        """The exit status of a process that does something to a job with a fuse of its own at a place."""
        env = {**os.environ, **self.embedded.environment, **_settings(), VARIABLE: place}
        command = [sys.executable, "-m", "tests.failpoints.child", what, job_id]
        return subprocess.run(command, cwd=ROOT, env=env, check=False, timeout=60, capture_output=True).returncode

    # --- what there is to see ---

    def states(self) -> dict[str, State]:
        with self.ctx.ledger.read() as tx:
            rows = tx.execute(sa.select(tables.jobs.c.id, tables.jobs.c.state))
            return {row.id: State(row.state) for row in rows}

    def rows(self, table: sa.Table) -> list[Any]:
        with self.ctx.ledger.read() as tx:
            return list(tx.execute(sa.select(table)))

    @property
    def bill(self) -> Bill:
        return read_bill(Path(str(self.embedded.addresses["bill"])))

    def settled(self) -> bool:
        """Whether every job has ended, or waits for a person to say what became of its create; all is paid and told."""
        self.embedded.check()
        states = self.states()
        at_rest = all(states.get(job_id) in {*TERMINAL, State.UNCERTAIN} for job_id in self.jobs)
        unpaid = any(row.settle_at for row in self.rows(tables.attempts))
        untold = any(row.due_at for row in self.rows(tables.webhooks))
        return at_rest and not unpaid and not untold

    # --- what an operator does ---

    def books(self) -> Books:
        """What there is to judge: the bill and its witness against the ledger."""
        folder = Path(str(self.embedded.addresses["bill"])).parent
        return Books(
            ends=dict(self.ends),
            states=self.states(),
            attempts=self.rows(tables.attempts),
            films=[row.job_id for row in self.rows(tables.outputs)],
            owed=[row.id for row in self.rows(tables.webhooks)],
            told=[call.id for call in self.receiver.taken()],
            created={self.marks.get(mark, ""): tasks for mark, tasks in provider.witnessed(folder).items()},
            billed=[create.task for create in self.bill.creates],
        )

    def resolve(self) -> int:
        """Bind what the provider has to the jobs in doubt, and write the others off; gives how many there were."""
        books = self.books()
        named = {row.provider_task_id for row in books.attempts}
        uncertain = [job_id for job_id, state in books.states.items() if state is State.UNCERTAIN]
        for job_id in uncertain:
            unnamed = [task for task in books.created.get(job_id, ()) if task not in named]
            if unnamed:
                wait_until(lambda: self._bound(job_id, unnamed[0]), within_s=60, what="binding what there is")  # noqa: B023
            else:
                operating.write_off(self.ctx, job_id, None)
                self.ends[job_id] |= {State.FAILED}
        return len(uncertain)

    def _bound(self, job_id: str, task: str) -> bool:
        """Not while the provider takes too long to answer."""
        try:
            operating.bind(self.ctx, job_id, task)
        except operating.NotPossible as error:
            if "try again" not in str(error):
                raise
            return False
        return True


def _picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (400, 400), (number % 256, number // 256 % 256, 90)).save(buffer, "PNG")
    return buffer.getvalue()


def _settings() -> dict[str, str]:
    return {f"REELWORKS_{name}": value for name, value in SETTINGS.items()}


def _scenario(provider_url: str) -> None:
    body = json.dumps(SCENARIO).encode()
    request = urllib.request.Request(f"{provider_url}/admin/scenario", data=body, method="PUT")
    urllib.request.urlopen(request, timeout=5).close()


@contextmanager
def _environment(more: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def stack(folder: Path, database: str, report: Callable[[str], None] = lambda _: None) -> Iterator[Stack]:
    """A running stack with no fuse laid, in an empty folder, on one of `DATABASES`."""
    fuses = folder / "fuses"
    fuses.mkdir()
    calm = {name: value for name, value in os.environ.items() if not name.startswith(("REELWORKS_", "VTRIX_"))}
    env = {**calm, **_settings(), VARIABLE: str(fuses)}
    options = StackOptions(
        var=folder / "var",
        speed=SPEED,
        flower=False,
        env=env,
        pool_sizes=PoolSizes(lanes_concurrency=5, create_concurrency=4, finish_concurrency=2),
        restarts=Restarts(settled_s=0.0, limit=1_000_000, first_delay_s=0.05, longest_delay_s=0.1),
    )
    report("starting the stack")
    with ExitStack() as parts:
        receiver = parts.enter_context(receiving())
        env["REELWORKS_WEBHOOK_PRIVATE"] = receiver.place
        if database == "postgresql":
            env["REELWORKS_DATABASE_URL"] = parts.enter_context(postgres_server()).url
        # What the stack plans in production, but for the provider: its witness knows which job a task was created for.
        parts.enter_context(mock.patch.object(stackplan, "simulator_command", provider.command))
        embedded = parts.enter_context(EmbeddedStack(options))
        _scenario(str(embedded.addresses["provider_url"]))
        with _environment({**_settings(), **embedded.environment}):
            ctx = build(read_settings())
        parts.callback(ctx.close)
        producer = parts.enter_context(Producer(str(embedded.addresses["redis_url"])))
        yield Stack(embedded, producer, ctx, fuses, receiver)
