"""A running stack in which every process can be made to die at any of the named places, and what is seen of it."""

from __future__ import annotations

import io
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import redis
import sqlalchemy as sa
from PIL import Image

from ops.simulator.bill import Bill, read_bill
from schemas import data_url
from schemas.jobs import TERMINAL, State
from schemas.producer import Producer
from tasks.context import Context
from tasks.failpoints import VARIABLE
from tasks.ledger import tables
from tests.chaos import provider
from tests.failpoints.books import Books
from tests.support.crew import stands_still
from tests.support.receiver import Receiver
from tests.support.waiting import wait_until
from workers.embedded import EmbeddedStack

ROOT: Final = Path(__file__).resolve().parents[2]
MODEL: Final = "minimax_hailuo_02_i2v"
URL: Final = "https://pictures.example/first.jpg"


@dataclass
class Stack:
    """The running stack, its fuses, and what there is to see of it."""

    embedded: EmbeddedStack
    producer: Producer
    ctx: Context
    environment: Mapping[str, str]
    """What its processes have beside the environment of this one."""
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
        env = {**os.environ, **self.environment, VARIABLE: place}
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


def _picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (400, 400), (number % 256, number // 256 % 256, 90)).save(buffer, "PNG")
    return buffer.getvalue()
