"""Where a chaos run takes place: database server, stack and provider, with settings that make a job take seconds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from unittest import mock

from tasks.context import Context
from tests.chaos import orders, provider
from tests.chaos.plan import Plan
from tests.support.doors import new_key
from tests.support.environment import foreign_environment
from tests.support.postgres import postgres_server
from tests.support.receiver import Receiver, receiving
from workers import pools, runtime, stackplan
from workers.embedded import EmbeddedStack, StackOptions
from workers.pools import PoolSizes
from workers.settings import read_settings
from workers.supervisor import Restarts

DATABASES: Final = ("sqlite", "postgresql")

# Short leases, so that what was left behind is found within seconds; each stands above what it has to outlast.
_SETTINGS: Final = {
    "PROVIDER_KEYS": "first=sk-chaos-1,second=sk-chaos-2",
    "POLL_FIRST_S": "0.6",
    "POLL_INTERVAL_S": "0.4",
    "POLL_OVERDUE_INTERVAL_S": "3",
    "POLL_LEASE_S": "3.5",
    "HTTP_CONNECT_S": "1",
    "HTTP_POLL_READ_S": "1.5",
    "HTTP_POLL_TOTAL_S": "2",
    "HTTP_CREATE_READ_S": "4",
    "HTTP_CREATE_TOTAL_S": "5",
    "HTTP_DOWNLOAD_READ_S": "4",
    "HTTP_DOWNLOAD_TOTAL_S": "20",
    "CREATE_START_S": "3",
    "CREATE_LEASE_S": "10",
    "CREATE_RETRY_S": "0.3",
    "KEY_PAUSE_S": "0.5",
    "DOWNLOAD_RETRY_S": "0.3",
    "LANE_IDLE_S": "0.2",
    "LANE_TTL_S": "2.5",
    "LANE_CHECK_S": "0.5",
    "SWEEP_INTERVAL_S": "0.7",
    "HANDOVER_S": "6",
    "WORK_LEASE_S": "5",
    "CONFIRM_S": "10",
    "SETTLE_S": "2",
    "UNCERTAIN_SLOT_S": "10",
    "WEBHOOK_FIRST_S": "0.5",
    "WEBHOOK_LONGEST_S": "3",
    "WEBHOOK_PAUSE_S": "1",
    "WEBHOOK_CONNECT_S": "1",
    "WEBHOOK_READ_S": "1",
    "WEBHOOK_TOTAL_S": "1.5",
}
_SPEED: Final = 100.0
# A second worker of each pool, as a second machine would have: one may die at any time.
_SECOND: Final = {f"{name}-b": replace(pool, name=f"{name}-b") for name, pool in pools.POOLS.items()}
WORKERS: Final = (*pools.POOLS, *_SECOND)
"""The parts that are workers."""


@dataclass(frozen=True)
class Stage:
    """A running stack. `fuses` is the folder in which failpoints are laid."""

    stack: EmbeddedStack
    context: Context
    environment: dict[str, str]
    folder: Path
    fuses: Path
    redis_url: str
    database: str
    keep_s: int
    """For how long Redis keeps what is only looked at: views, records of idempotency keys."""
    keys: Mapping[str, str] = field(repr=False)
    """The text of the gateway's key, by tenant; of none where there is no gateway."""
    receiver: Receiver
    """To whom webhooks are sent."""

    @property
    def simulator(self) -> Path:
        """The simulator's folder: its bill and what its witness wrote."""
        return self.folder / "simulator"

    @property
    def bill(self) -> Path:
        return self.simulator / "bill.jsonl"

    @property
    def gateway_url(self) -> str:
        return str(self.stack.addresses["gateway_url"])

    @property
    def hooks_url(self) -> str:
        return self.receiver.url

    @property
    def provider_url(self) -> str:
        return str(self.stack.addresses["provider_url"])

    def pids(self) -> dict[str, int]:
        """Process ids of the parts that run at this moment."""
        found: dict[str, int] = dict(self.stack.addresses["pids"])  # type: ignore[call-overload]
        return found


@contextmanager
def staged(folder: Path, plan: Plan, *, database: str, app: str, scenario: Path, keep_s: int) -> Iterator[Stage]:
    """A stack in `folder` on a database server of its own; `app` is the Celery application that its workers run.

    Of the plan it takes how much of what is to be there, not what is done.
    """
    fuses = folder / "fuses"
    fuses.mkdir(parents=True)
    with ExitStack() as inner:
        # The stack plans what it plans in production, but for the provider, which has a witness here.
        inner.enter_context(mock.patch.object(stackplan, "simulator_command", provider.command))
        inner.enter_context(mock.patch.object(pools, "APP", app))
        inner.enter_context(mock.patch.object(pools, "POOLS", {**pools.POOLS, **_SECOND}))
        env = foreign_environment()
        env |= {f"REELWORKS_{name}": text for name, text in _SETTINGS.items()}
        env |= {"REELWORKS_FAILPOINT": str(fuses), "REELWORKS_VIEW_TTL_S": str(keep_s)}
        env["REELWORKS_OPEN_TASKS_PER_KEY"] = str(plan.scale.slots)
        receiver = inner.enter_context(receiving())
        receiver.answers += plan.hook_answers
        env["REELWORKS_WEBHOOK_PRIVATE"] = receiver.place
        if database == "postgresql":
            env["REELWORKS_DATABASE_URL"] = inner.enter_context(postgres_server()).url
        options = StackOptions(
            var=folder,
            speed=_SPEED,
            seed=plan.seed,
            scenario=scenario,
            flower=False,
            gateway=plan.by_http,
            env=env,
            pool_sizes=PoolSizes(lanes_concurrency=5, create_concurrency=6, finish_concurrency=2),
            # A run kills far more often than any stack dies by itself.
            restarts=Restarts(settled_s=0.5, limit=1000, first_delay_s=0.05, longest_delay_s=0.5),
        )
        stack = inner.enter_context(EmbeddedStack(options))
        environment = {**env, **stack.environment}
        context = _context(environment)
        inner.callback(context.close)
        keys = {tenant: new_key(context.ledger, tenant) for tenant in orders.TENANTS} if plan.by_http else {}
        redis_url = environment["REELWORKS_REDIS_URL"]
        yield Stage(stack, context, environment, folder, fuses, redis_url, database, keep_s, keys, receiver)


def _context(environment: dict[str, str]) -> Context:
    """What an operator's process works with. It lays no fuse under itself: failpoints are read at the import."""
    with mock.patch.dict(os.environ, environment, clear=True):
        return runtime.build(read_settings())


def write_scenario(path: Path) -> Path:
    """The simulator's rules of a run, as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(orders.scenario()))
    return path
