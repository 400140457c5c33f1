"""Lanes keep their pace among workers whose clocks differ: real workers, one of them with a clock ten minutes off."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from celery import Celery

from tasks.lanes import LANES
from tasks.ledger import Ledger
from tasks.ledger.migrate import upgrade
from tasks.pulse import keys
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
