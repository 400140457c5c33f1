"""A whole embedded stack under a steady rate of jobs, with a provider that is as imperfect as providers are."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from unittest import mock

from schemas.errors import NotSubmitted
from schemas.producer import Producer
from tasks.domain.budgets import Budget, Period, WhenUsedUp
from tasks.ledger import Ledger
from tasks.ledger.spending import set_budget
from tests.chaos import provider
from tests.support.environment import foreign_environment
from tests.support.receiver import receiving
from tests.support.works import request
from tests.watch.prometheus import Prometheus, prometheus
from workers import stackplan
from workers.embedded import EmbeddedStack, StackOptions
from workers.pools import PoolSizes

_BATCH_S: Final = 0.25
_SPEED: Final = 30.0
_EVERY_S: Final = 5.0
_OTHER_MODEL: Final = {"model": "minimax_hailuo_23_fast_i2v", "first_frame_image": "https://pictures.example/lake.jpg"}
# Of so many jobs one is of a kind: none of it is so much that an alert has to fire. A key that is throttled is slowed
# to below what it took in the last minute, and needs seconds to come back: of that there is least.
_KINDS: Final = {"throttled": 2000, "failing": 50, "priceless": 100, "broken": 70}
_RULES: Final = [
    {"match": {"prompt_contains": " failing "}, "poll": {"outcome": "failed"}},
    {"match": {"prompt_contains": " priceless "}, "poll": {"cost_form": "missing"}},
    {"match": {"prompt_contains": " throttled ", "chance": 0.5}, "create": {"status": 429, "retry_after": 1}},
    {"match": {"prompt_contains": " broken "}, "poll": {"fault": "http_500"}, "output": {"fault": "truncated_output"}},
]
_SETTINGS: Final = {
    "PROVIDER_KEYS": "first=sk-watch-1,second=sk-watch-2",
    "OPEN_TASKS_PER_KEY": "200",
    "POLL_FIRST_S": "1",
    "POLL_INTERVAL_S": "1",
    "GATEWAY_PROCESSES": "1",
}


@dataclass
class Load:
    """Jobs at a steady rate, from a thread of its own, until it is ended. `submitted` counts them."""

    redis_url: str
    hooks_url: str
    rate: float
    submitted: int = 0
    refused: int = 0

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        begun = time.monotonic()
        with Producer(self.redis_url) as producer:
            while not self._over.wait(_BATCH_S):
                due = int((time.monotonic() - begun) * self.rate) - self.submitted
                try:
                    producer.submit_many([self._job(self.submitted + n) for n in range(due)])
                except NotSubmitted:
                    self.refused += due
                self.submitted += due

    def _job(self, number: int) -> dict[str, Any]:
        kind = next((kind for kind, one_in in _KINDS.items() if number % one_in == one_in - 1), "plain")
        asked = {**request(), "prompt": f"[static] {kind} shot", "tenant": ("film", "studio")[number % 2]}
        if number % 10 == 3:
            asked |= _OTHER_MODEL
            del asked["resolution"]
        if number % 20 == 7:
            asked["callback_url"] = f"{self.hooks_url}/watch/{number}"
        return asked


@dataclass(frozen=True)
class Loaded:
    """A stack that is up, the Prometheus that watches it, and what it is given to do."""

    stack: EmbeddedStack
    prometheus: Prometheus
    load: Load


@contextmanager
def loaded(folder: Path, rate: float) -> Iterator[Loaded]:
    """A stack with all its parts but Flower in `folder`, at `rate` jobs a second until the end of the block."""
    token = secrets.token_hex(32)
    with ExitStack() as inner:
        # The provider's own limits are not what is looked at here.
        inner.enter_context(mock.patch.object(stackplan, "simulator_command", provider.command))
        receiver = inner.enter_context(receiving())
        env = foreign_environment()
        env |= {f"REELWORKS_{name}": text for name, text in _SETTINGS.items()}
        env |= {"REELWORKS_METRICS_TOKEN": token, "REELWORKS_WEBHOOK_PRIVATE": receiver.place}
        folder.mkdir(parents=True)
        options = StackOptions(
            var=folder / "var",
            speed=_SPEED,
            scenario=_scenario(folder / "scenario.json"),
            flower=False,
            gateway=True,
            pool_sizes=PoolSizes(lanes_concurrency=6, create_concurrency=8, finish_concurrency=2),
            env=env,
        )
        stack = inner.enter_context(EmbeddedStack(options))
        _allow(stack.environment)
        gateway_url = str(stack.addresses["gateway_url"])
        watching = inner.enter_context(prometheus(folder / "prometheus", gateway_url, token, every_s=_EVERY_S))
        load = Load(stack.environment["REELWORKS_REDIS_URL"], receiver.url, rate)
        inner.callback(load.end)
        yield Loaded(stack, watching, load)


def _scenario(path: Path) -> Path:
    path.write_text(json.dumps(_RULES))
    return path


def _allow(environment: dict[str, str]) -> None:
    """A budget that is far from used up, so that there is one to show."""
    with closing(Ledger(environment["REELWORKS_DATABASE_URL"])) as ledger, ledger.begin() as tx:
        set_budget(tx, Budget("film", Period.DAY, Decimal(10_000), WhenUsedUp.WAIT))
