"""Everything that jobs need, each as a real process: broker, provider, database, workers, and the books to compare."""

from __future__ import annotations

import io
import json
import subprocess
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from PIL import Image

from ops.simulator.bill import Bill, read_bill
from schemas import data_url
from schemas.handle import Handle
from schemas.jobs import State
from schemas.producer import Producer
from tasks.context import Context
from tasks.ledger import Ledger, tables
from tasks.ledger.migrate import upgrade
from tasks.spool import Spool
from tests.support.crew import Crew
from tests.support.environment import foreign_environment
from tests.support.gate import Gate
from tests.support.valkey import Valkey, valkey_server
from tests.support.waiting import wait_until
from workers.probes import free_port, http_answers
from workers.runtime import build
from workers.settings import read_settings
from workers.stackplan import ROOT, simulator_command

MODEL = "minimax_hailuo_02_i2v"
KEY = "sk-works"

QUICK: Mapping[str, str] = {
    "REELWORKS_POLL_FIRST_S": "0.3",
    "REELWORKS_POLL_INTERVAL_S": "0.3",
    "REELWORKS_POLL_LEASE_S": "3",
    "REELWORKS_LANE_IDLE_S": "0.1",
    "REELWORKS_LANE_TTL_S": "4",
    "REELWORKS_LANE_CHECK_S": "0.5",
    "REELWORKS_SWEEP_INTERVAL_S": "0.3",
    "REELWORKS_HANDOVER_S": "2",
    "REELWORKS_WORK_LEASE_S": "2",
    "REELWORKS_CREATE_START_S": "5",
    "REELWORKS_CREATE_LEASE_S": "26",
    "REELWORKS_CREATE_RETRY_S": "0.2",
    "REELWORKS_KEY_PAUSE_S": "0.5",
    "REELWORKS_DOWNLOAD_RETRY_S": "0.2",
    "REELWORKS_HTTP_CONNECT_S": "0.5",
    "REELWORKS_HTTP_POLL_READ_S": "2",
    "REELWORKS_HTTP_POLL_TOTAL_S": "2",
    "REELWORKS_HTTP_CREATE_READ_S": "20",
    "REELWORKS_HTTP_CREATE_TOTAL_S": "20",
    "REELWORKS_CREATE_CONCURRENCY": "4",
    "REELWORKS_LANES_CONCURRENCY": "6",
}
"""Every time of a worker, scaled to a test's."""


class Works:
    """The parts, and short ways to what they have written. Made by `works`."""

    gate: Gate
    """Between workers and provider."""
    broker: Valkey

    def __init__(
        self,
        folder: Path,
        addresses: Mapping[str, str],
        bill: Path,
        *,
        ledger_url: str | None = None,
        redis_url: str | None = None,
    ) -> None:
        """`addresses`: settings of the workers that say where everything is, or differ from `QUICK`.

        `ledger_url` and `redis_url`: for the test itself, where it goes another way than the workers.
        """
        self.bill_path = bill
        self.store = folder / "store"
        self.env = {
            **foreign_environment(),
            **QUICK,
            "REELWORKS_VAR": str(folder / "var"),
            "REELWORKS_STORE": str(self.store),
            "REELWORKS_PROVIDER_KEYS": f"main={KEY}",
            **addresses,
        }
        self.spool = Spool(folder / "var" / "spool")
        self.ledger = Ledger(ledger_url or self.env["REELWORKS_DATABASE_URL"])
        upgrade(self.ledger)
        self.crew = Crew(folder / "crew", self.env)
        self.producer = Producer(redis_url or self.env["REELWORKS_REDIS_URL"])

    @contextmanager
    def context(self) -> Iterator[Context]:
        """What a command on this machine works with."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.env.items():
                patch.setenv(name, value)
            made = build(read_settings())
        try:
            yield made
        finally:
            made.threads.shutdown()
            made.pulse.close()
            made.ledger.close()

    def submit(self, number: int = 1) -> list[Handle]:
        """New jobs, small and cheap ones."""
        return self.producer.submit_many([request()] * number)

    def script(self, *rules: Mapping[str, Any]) -> None:
        """How the provider treats the creates from now on."""
        _put(f"{self.gate.url}/admin/scenario", list(rules))

    def state(self, job_id: str) -> State | None:
        row = self.row(job_id)
        return None if row is None else State(row.state)

    def row(self, job_id: str) -> Any:
        with self.ledger.read() as tx:
            return tx.execute(sa.select(tables.jobs).where(tables.jobs.c.id == job_id)).first()

    def rows(self, table: sa.Table, job_id: str) -> list[Any]:
        with self.ledger.read() as tx:
            return list(tx.execute(sa.select(table).where(table.c.job_id == job_id)))

    def events(self, job_id: str) -> list[str]:
        return [row.event for row in sorted(self.rows(tables.timeline, job_id), key=lambda row: row.seq)]

    def wait(self, jobs: Sequence[Handle], *states: State, within_s: float = 90.0) -> None:
        """Until each of the jobs is in one of the states, by the ledger."""
        found: dict[str, State | None] = {}

        def all_there() -> bool:
            found.update((job.id, self.state(job.id)) for job in jobs)
            return all(state in states for state in found.values())

        try:
            wait_until(all_there, within_s=within_s, what=f"{len(jobs)} jobs in {'/'.join(states)}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {found}\n{self.crew.last_words()}") from None

    def bill(self) -> Bill:
        return read_bill(self.bill_path)

    def check_books(self, *, doubted: Collection[str] = ()) -> None:
        """The promises, over all jobs that there ever were here: nothing lost, nothing paid twice, every cent known.

        `doubted`: the jobs with an attempt of which nobody knew until somebody resolved it; no other job may have one.
        """
        with self.ledger.read() as tx:
            jobs = {row.id: row for row in tx.execute(sa.select(tables.jobs))}
            charged = {row.provider_task_id: row.amount_usd for row in tx.execute(sa.select(tables.charges))}
            doubtful = list(tx.execute(sa.select(tables.attempts).where(tables.attempts.c.outcome == "unknown")))
        bill = self.bill()
        assert {row.state for row in jobs.values()} <= {State.COMPLETED}
        assert sorted(create.task for create in bill.creates) == sorted(row.provider_task_id for row in jobs.values())
        assert charged == bill.usd_by_task
        assert sum(charged.values(), Decimal(0)) == bill.billed_usd
        assert {attempt.job_id for attempt in doubtful} == set(doubted)
        wait_until(lambda: self.spool.waiting() == 0, within_s=75, what="an empty spool")

    def close(self) -> None:
        self.crew.close()
        self.producer.close()
        self.ledger.close()


def request() -> dict[str, Any]:
    """What a producer asks for here: the smallest and cheapest there is."""
    return {"model": MODEL, "first_frame_image": _picture(), "prompt": "[static]", "resolution": "512P"}


@cache
def _picture() -> str:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((480, 360)).convert("RGB").save(buffer, "PNG")
    return data_url(buffer.getvalue())


def _put(url: str, body: Any) -> None:
    urllib.request.urlopen(urllib.request.Request(url, data=json.dumps(body).encode(), method="PUT"), timeout=5).close()


@contextmanager
def simulator(folder: Path, speed: float = 100, more: Sequence[str] = ()) -> Iterator[int]:
    """The provider on loopback, with `more` options; gives its port."""
    port = free_port()
    folder.mkdir(parents=True)
    argv = simulator_command(host="127.0.0.1", port=port, folder=folder, speed=speed, seed=7) + list(more)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=ROOT)
    try:
        wait_until(lambda: http_answers(f"http://127.0.0.1:{port}/admin/state"), what="the provider")
        yield port
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def works(folder: Path, database_url: str) -> Iterator[Works]:
    """All parts but the workers, which `crew` starts; everything is ended with the block."""
    with ExitStack() as stack:
        (folder / "valkey").mkdir(parents=True)
        broker = stack.enter_context(valkey_server(folder / "valkey"))
        gate = Gate(stack.enter_context(simulator(folder / "simulator")))
        stack.callback(gate.close)
        addresses = {
            "REELWORKS_REDIS_URL": broker.url,
            "REELWORKS_DATABASE_URL": database_url,
            "REELWORKS_PROVIDER_URL": gate.url,
            "REELWORKS_OUTPUT_PRIVATE": "127.0.0.1",
        }
        made = Works(folder, addresses, folder / "simulator" / "bill.jsonl")
        stack.callback(made.close)
        made.gate, made.broker = gate, broker
        yield made
