"""Starts the stack of a run of deaths: what production plans, with short leases, and a provider that has a witness."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from unittest import mock

from schemas.producer import Producer
from tasks.failpoints import VARIABLE
from tests.chaos import provider
from tests.failpoints.stack import Stack
from tests.support.environment import foreign_environment
from tests.support.postgres import postgres_server
from tests.support.receiver import receiving
from workers import stackplan
from workers.embedded import EmbeddedStack, StackOptions
from workers.pools import PoolSizes
from workers.runtime import build
from workers.settings import read_settings
from workers.supervisor import Restarts

DATABASES: Final = ("sqlite", "postgresql")
SPEED: Final = 300.0
# Short leases, so that what dies is found soon; each above what it has to be above (`workers.settingrules`).
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


@contextmanager
def started(folder: Path, database: str, report: Callable[[str], None]) -> Iterator[Stack]:
    """A running stack with no fuse laid, in an empty folder, on one of `DATABASES`."""
    fuses, scenario = folder / "fuses", folder / "scenario.json"
    fuses.mkdir()
    scenario.write_text(json.dumps(SCENARIO))
    calm = foreign_environment()
    settings = {f"REELWORKS_{name}": value for name, value in SETTINGS.items()}
    env = {**calm, **settings, VARIABLE: str(fuses)}
    options = StackOptions(
        var=folder / "var",
        speed=SPEED,
        scenario=scenario,
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
        environment = {**settings, **embedded.environment}
        with mock.patch.dict(os.environ, environment):
            ctx = build(read_settings())
        parts.callback(ctx.close)
        producer = parts.enter_context(Producer(str(embedded.addresses["redis_url"])))
        yield Stack(embedded, producer, ctx, environment, fuses, receiver)
