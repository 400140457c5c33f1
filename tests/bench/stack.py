"""Reelworks as it is deployed, on a stand: real workers as `up` starts them, its database a file of SQLite."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from unittest import mock

import sqlalchemy as sa

from schemas.jobs import State
from schemas.producer import Producer
from tasks.ledger import Ledger, tables
from tests.bench.stand import Stand
from tests.support.environment import foreign_environment
from workers import pools
from workers.embedded import EmbeddedStack, StackOptions

MODEL = "minimax_hailuo_02_i2v"
PICTURE = "https://pictures.example/first.jpg"
KEY = "sk-bench"
TRUSTING_APP = "tests.bench.trusting"

REQUEST: Mapping[str, Any] = {
    "model": MODEL,
    "first_frame_image": PICTURE,
    "prompt": "a red kite over a harbour at dusk, [push in] towards the lighthouse, long shadows, calm sea " * 2,
    "resolution": "512P",
    "duration": 6,
    "metadata": {"scene": 12, "take": 3},
}
"""What is asked for everywhere here: a job without pictures to store, as most rivals would have it too."""

NO_LIMITS: Mapping[str, str] = {"REELWORKS_OPEN_TASKS_PER_KEY": "1000000"}
"""The provider's limits out of the way: all jobs are open at once."""


def polled_every(interval_s: float) -> dict[str, str]:
    """Settings that have tasks looked at about so often, as the baseline does."""
    return dict.fromkeys(("REELWORKS_POLL_FIRST_S", "REELWORKS_POLL_INTERVAL_S"), f"{interval_s:g}")


@dataclass(frozen=True)
class Reelworks:
    """A running stack, and short ways to what its ledger says."""

    stack: EmbeddedStack
    ledger: Ledger
    producer: Producer

    def pids(self, pool: str = "") -> list[int]:
        """The process of each pool, or of one."""
        found: dict[str, int] = dict(self.stack.addresses["pids"])  # type: ignore[call-overload]
        return [pid for name, pid in found.items() if name in pools.POOLS and name.startswith(pool)]

    def count(self, state: State) -> int:
        table = tables.jobs
        with self.ledger.read() as tx:
            return int(tx.execute(sa.select(sa.func.count()).where(table.c.state == state)).scalar_one())

    def completed(self, tasks: Collection[str]) -> dict[str, float]:
        """When the jobs of these provider tasks were completed, in epoch seconds, by the ledger."""
        done = tables.timeline
        found = sa.select(tables.jobs.c.provider_task_id, done.c.at).join(done, done.c.job_id == tables.jobs.c.id)
        with self.ledger.read() as tx:
            rows: list[tuple[str, datetime]] = [
                (row[0], row[1]) for row in tx.execute(found.where(done.c.state == State.COMPLETED))
            ]
        return {task: at.timestamp() for task, at in rows if task in tasks}


def environment(stand: Stand, settings: Mapping[str, str]) -> dict[str, str]:
    """What its workers find in their environment, but for the addresses that the stack plans itself."""
    env = foreign_environment()
    return {
        **env,
        "REELWORKS_REDIS_URL": stand.redis_url,
        "REELWORKS_PROVIDER_URL": stand.provider.url,
        "REELWORKS_PROVIDER_KEYS": f"main={KEY}",
        "REELWORKS_OUTPUT_PRIVATE": "127.0.0.1",
        **settings,
    }


@contextmanager
def reelworks(
    stand: Stand,
    settings: Mapping[str, str],
    *,
    only: Collection[str] = tuple(pools.POOLS),
    hosts: int = 1,
    database_url: str | None = None,
) -> Iterator[Reelworks]:
    """The stack, with the pools of `only`, once for each of `hosts`; with `database_url`, on a database that is there.

    The processes of host 1 are named `lanes`, `create` and so on, those of host 2 `lanes-2`.
    """
    with ExitStack() as inner:
        chosen = {name: pool for name, pool in pools.POOLS.items() if name in only}
        for host in range(2, hosts + 1):
            chosen |= {f"{name}-{host}": replace(pools.POOLS[name], name=f"{name}-{host}") for name in only}
        inner.enter_context(mock.patch.object(pools, "POOLS", chosen))
        if stand.provider.url.startswith("https:"):
            inner.enter_context(mock.patch.object(pools, "APP", TRUSTING_APP))
        env = environment(stand, settings)
        if database_url is not None:
            env["REELWORKS_DATABASE_URL"] = database_url
        options = StackOptions(
            var=stand.folder / "var",
            flower=False,
            env=env,
            worker_grace_s=5.0,
        )
        stack = inner.enter_context(EmbeddedStack(options))
        ledger = Ledger(stack.environment["REELWORKS_DATABASE_URL"])
        inner.callback(ledger.close)
        yield Reelworks(stack, ledger, inner.enter_context(Producer(stand.redis_url)))
