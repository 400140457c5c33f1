"""A clock ten minutes off changes nothing: lanes keep their pace among real workers, leases are the server's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
import time_machine
from celery import Celery

from schemas.jobs import State
from tasks.domain.transitions import Event
from tasks.lanes import LANES
from tasks.ledger import Ledger, tables
from tasks.ledger.jobs import accept, move
from tasks.ledger.leases import claim, lapsed
from tasks.ledger.migrate import upgrade
from tasks.ledger.money import begin_attempt
from tasks.pulse import keys
from tests.support.jobs import NEW_JOB
from tests.support.valkey import Valkey, valkey_server
from tests.support.waiting import wait_until
from workers import pools
from workers.pools import PoolSizes

TURNS = 10


@contextmanager
def lanes_worker(name: str, env: dict[str, str], folder: Path, clock_s: float | None = None) -> Iterator[str]:
    """A worker of the lanes; its node name."""
    node = f"{name}@test"
    python, *arguments = pools.command("lanes", PoolSizes(lanes_concurrency=4))
    arguments[arguments.index("-n") + 1] = node
    shift = [] if clock_s is None else ["-m", "tests.support.shifted", str(clock_s)]
    with (folder / f"{name}.log").open("wb") as log:
        running = subprocess.Popen([python, *shift, *arguments], env=env, stdout=log, stderr=log)
    try:
        yield node
    finally:
        running.terminate()
        running.wait(30)


def epochs(broker: Valkey) -> list[bytes | None]:
    return [broker.client.get(keys.lane_epoch(lane)) for lane in LANES]  # type: ignore[misc]


def turns(app: Celery, nodes: Sequence[str]) -> dict[str, dict[str, int]]:
    """By node, how often each lane's turn was its."""
    stats = app.control.inspect(nodes, timeout=1).stats() or {}
    return {node: each["total"] for node, each in stats.items()}


@pytest.mark.parametrize("clock_s", [600, -600])
def test_a_clock_ten_minutes_off_changes_nothing_for_the_lanes(clock_s: float, tmp_path: Path) -> None:
    database_url = f"sqlite:///{tmp_path}/ledger.db"
    ledger = Ledger(database_url)
    upgrade(ledger)
    ledger.close()
    with ExitStack() as stack:
        broker = stack.enter_context(valkey_server(tmp_path))
        env = {
            **os.environ,
            "REELWORKS_REDIS_URL": broker.url,
            "REELWORKS_DATABASE_URL": database_url,
            "REELWORKS_VAR": str(tmp_path),
            "REELWORKS_PROVIDER_KEYS": "main=sk-none",
            "REELWORKS_LANE_IDLE_S": "0.2",
            "REELWORKS_SWEEP_INTERVAL_S": "0.3",
        }
        nodes = [
            stack.enter_context(lanes_worker("right", env, tmp_path)),
            stack.enter_context(lanes_worker("wrong", env, tmp_path, clock_s)),
        ]
        app = stack.enter_context(Celery("observer", broker=broker.url, set_as_current=False))

        def both_took(least: int) -> bool:
            assert epochs(broker) == before, "a lane was held for so long that it was seeded again"
            taken = turns(app, nodes)
            counted = ("reelworks.admit", "reelworks.poll", "reelworks.sweep")
            return all(taken.get(node, {}).get(lane, 0) >= least for node in nodes for lane in counted)

        wait_until(lambda: len(turns(app, nodes)) == len(nodes), within_s=60, what="both workers")
        before = wait_until(lambda: all(each := epochs(broker)) and each, what="all lanes")
        wait_until(lambda: both_took(TURNS), within_s=90, what=f"{TURNS} turns of each lane in each worker")


def server_now(ledger: Ledger) -> datetime:
    with ledger.engine.connect() as connection:
        now: datetime = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    return now.astimezone(UTC)


# SQLite's clock is the machine's: it lives on one machine, and there is no other clock to agree with.
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("clock_s", [600, -600])
def test_a_clock_ten_minutes_off_changes_no_job(clock_s: float, ledger: Ledger) -> None:
    lease_s = 30.0
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=clock_s), tick=True):
        before = server_now(ledger)
        with ledger.begin() as tx:
            accept(tx, [NEW_JOB])
        with ledger.begin() as tx:
            assert move(tx, NEW_JOB.id, Event.ADMIT, lease_s=lease_s, key_alias="main") is not None
        with ledger.begin() as tx:
            begun = move(tx, NEW_JOB.id, Event.BEGIN, lease_s=lease_s)
            assert begun is not None
            begin_attempt(tx, begun)
        with ledger.begin() as tx:
            assert move(tx, NEW_JOB.id, Event.ACCEPTED, lease_s=lease_s, provider_task_id="task") is not None
        with ledger.begin() as tx:
            assert move(tx, NEW_JOB.id, Event.COMPLETED, lease_s=lease_s) is not None
        with ledger.begin() as tx:
            assert claim(tx, NEW_JOB.id, State.DOWNLOADING, lease_s) is not None
        with ledger.begin() as tx:
            assert lapsed(tx, 1) == []  # a clock that is ahead ends no lease ...
            assert claim(tx, NEW_JOB.id, State.DOWNLOADING, lease_s) is None
        after = server_now(ledger)
        with ledger.read() as tx:
            (job,) = tx.execute(sa.select(tables.jobs))
            written = [job.accepted_at, job.changed_at, job.lease_until - timedelta(seconds=lease_s)]
            written += tx.execute(sa.select(tables.attempts.c.begun_at)).scalars()
            written += tx.execute(sa.select(tables.timeline.c.at)).scalars()
        assert before <= min(written)
        assert max(written) <= after
        with ledger.begin() as tx:
            past = sa.func.clock_timestamp() - timedelta(seconds=1)
            tx.execute(sa.update(tables.jobs).values(lease_until=past))
        with ledger.begin() as tx:  # ... and one that is behind lets none go on
            assert [each.id for each in lapsed(tx, 1)] == [NEW_JOB.id]
            assert claim(tx, NEW_JOB.id, State.DOWNLOADING, lease_s) is not None
