"""A whole stack with its real settings, its Redis behind a proxy; and what has to hold when Redis was in trouble."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ops.simulator.bill import read_bill
from schemas.handle import Handle
from schemas.jobs import State
from schemas.producer import Producer
from tasks.ledger import Ledger, tables
from tests.support.environment import foreign_environment
from tests.support.proxy import PASS, FaultProxy
from tests.support.valkey import Valkey, valkey_server
from tests.support.waiting import wait_until
from workers.embedded import EmbeddedStack, StackOptions

REQUEST = {"model": "minimax_hailuo_02_i2v", "first_frame_image": "https://pictures.example/cat.jpg"}
GOES_ON_WITHIN_S = 60.0
"""From the return of Redis until the last of the jobs has moved."""
COMPLETES_WITHIN_S = 90.0
SIGNS = ("lane_fell_silent", "lane_turn_failed", "lane_not_checked", "Connection to broker lost", "Cannot connect")


@dataclass(frozen=True)
class Stack:
    """A running stack, what stands between it and its Redis, and where its truth stands."""

    stack: EmbeddedStack
    valkey: Valkey
    proxy: FaultProxy
    producer: Producer
    ledger: Ledger
    bill: Path

    def changes(self, handles: list[Handle]) -> dict[str, tuple[State, int]]:
        """The state of these jobs in the ledger, and how often each was changed."""
        with self.ledger.read() as tx:
            rows = tx.execute(
                sa.select(tables.jobs.c.id, tables.jobs.c.state, tables.jobs.c.version).where(
                    tables.jobs.c.id.in_([handle.id for handle in handles])
                )
            )
            return {row.id: (State(row.state), row.version) for row in rows}

    def signs(self) -> int:
        """How often the lanes' worker has said so far that Redis was in trouble."""
        text = (Path(str(self.stack.addresses["logs"])) / "lanes.log").read_text()
        return sum(text.count(sign) for sign in SIGNS)

    def submit(self, number: int) -> list[Handle]:
        return self.producer.submit_many([REQUEST] * number)


@contextmanager
def stack_behind_proxy(var: Path, folder: Path) -> Iterator[Stack]:
    """In `var`, with a Redis of its own in `folder`."""
    with valkey_server(folder) as valkey, FaultProxy(valkey.port) as proxy:
        env = {
            **foreign_environment(),
            "REELWORKS_REDIS_URL": proxy.redis_url,
            "REELWORKS_PROVIDER_KEYS": "main=sk-none",
            "REELWORKS_POLL_FIRST_S": "1",
            "REELWORKS_POLL_INTERVAL_S": "1",
        }
        with EmbeddedStack(StackOptions(var=var, speed=60, env=env, flower=False)) as stack:
            ledger = Ledger(str(stack.addresses["database_url"]))
            with Producer(proxy.redis_url) as producer:
                yield Stack(stack, valkey, proxy, producer, ledger, Path(str(stack.addresses["bill"])))
            ledger.close()


Trouble = Callable[[Stack], None]


def until_noticed(begin: Callable[[Stack], Any], stack: Stack) -> None:
    """Begin a trouble that lasts until the lanes' worker has said so more than once."""
    before = stack.signs()
    begin(stack)
    # Its loop may meet one silent connection after the other, each for a time-out of 10 s, before it says anything.
    wait_until(lambda: stack.signs() >= before + 2, within_s=100, what="a worker noticing")


def mend(stack: Stack) -> None:
    stack.valkey.thaw()
    if stack.proxy.fault.latency_s == 0:  # slow it stays
        stack.proxy.fault = PASS
    stack.valkey.client.replicaof("NO", "ONE")
    stack.valkey.client.config_set("min-replicas-to-write", 0)
    stack.valkey.client.config_set("maxmemory", 0)


def _created(jobs: dict[str, tuple[State, int]]) -> int:
    return len([1 for state, _ in jobs.values() if state not in (State.QUEUED, State.ADMITTED, State.CREATING)])


def go_on_and_are_paid_once(running: Stack, trouble: Trouble) -> None:
    """Jobs that were accepted and jobs that are generating go on after the trouble, complete, and are paid for once."""
    pids = running.stack.addresses["pids"]
    generating = running.submit(4)
    wait_until(lambda: _created(running.changes(generating)) == 4, within_s=60, what="jobs at the provider")
    accepted = running.submit(4)
    wait_until(lambda: len(running.changes(accepted)) == 4, within_s=60, what="accepted jobs")
    jobs = [*generating, *accepted]
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(len(jobs)) as threads:
        patch.setattr("schemas.waiting.OUTAGE_S", 150.0)  # as long as it may take until a worker notices, and more
        waits = [threads.submit(handle.get, 300) for handle in jobs]
        try:
            trouble(running)
        finally:
            mend(running)  # for the next trouble too, should nobody have noticed this one
        before = running.changes(jobs)

        def unmoved() -> list[str]:
            now = running.changes(jobs)
            return [job for job, was in before.items() if was[0] is not State.COMPLETED and now[job] == was]

        wait_until(lambda: not unmoved(), within_s=GOES_ON_WITHIN_S, what="every job going on")
        wait_until(
            lambda: all(state is State.COMPLETED for state, _ in running.changes(jobs).values()),
            within_s=COMPLETES_WITHIN_S,
            what="every job's completion",
        )
        assert [wait.result().state for wait in waits] == [State.COMPLETED] * len(jobs)
    running.proxy.fault = PASS
    assert running.stack.addresses["pids"] == pids, "a worker ended"
    bill = read_bill(running.bill)
    with running.ledger.read() as tx:
        charged = {row.provider_task_id: row.amount_usd for row in tx.execute(sa.select(tables.charges))}
        known = tx.execute(sa.select(sa.func.count()).select_from(tables.jobs)).scalar()
    assert charged == bill.usd_by_task
    assert len(bill.creates) == known
