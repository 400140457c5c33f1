"""Reads ledger, Redis and the store's disk when somebody scrapes, and says which of the first two could not be read.
Refuses to fail of any.

A reading serves all who scrape within the next seconds, one process at a time: however many watch, a gateway's process
asks the servers once every `KEPT_S` at most.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from schemas.keys import ENQUEUE_QUEUE
from tasks.context import Context
from tasks.hints import LANES_QUEUE, QUEUES
from tasks.lanes import LANES
from tasks.ledger import LedgerError
from tasks.ledger.gauges import ledger_gauges
from tasks.media.folderstore import FolderStore
from tasks.pulse import PulseError
from workers.metrics import catalog
from workers.metrics.families import of_ledger, of_redis, single

log = structlog.get_logger("reelworks.metrics")

KEPT_S: Final = 2.0
_QUEUES: Final = (LANES_QUEUE, *QUEUES.values(), ENQUEUE_QUEUE)


class Figures(Collector):
    """All series. `context` gives what to read from; safe to use from many threads."""

    def __init__(self, context: Callable[[], Context]) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._read: tuple[float, list[Metric]] | None = None

    def collect(self) -> list[Metric]:
        """What was read within the last `KEPT_S`, or is read now."""
        with self._lock:
            if self._read is None or time.monotonic() - self._read[0] >= KEPT_S:
                ctx = self._context()
                made: list[Metric] = [*_of_ledger(ctx), *_of_redis(ctx), *_of_store(ctx)]
                self._read = time.monotonic(), made
            return self._read[1]

    def describe(self) -> list[Metric]:
        """The names, so that to be registered takes no reading."""
        return [each.family() for each in catalog.ALL]


def text(figures: Figures) -> str:
    """All series in Prometheus' text format (0.0.4)."""
    registry = CollectorRegistry()
    registry.register(figures)
    return generate_latest(registry).decode()


def _of_ledger(ctx: Context) -> Iterator[Metric]:
    try:
        with ctx.ledger.read() as tx:
            read, now = ledger_gauges(tx, ctx.policy.uncertain_slot_s), tx.now
    except LedgerError as error:
        log.warning("ledger_not_read", error=type(error).__name__)
        yield single(catalog.DATABASE_UP, 0)
        return
    yield single(catalog.DATABASE_UP, 1)
    yield from of_ledger(read, ctx.policy.open_tasks_per_key, now)


def _of_store(ctx: Context) -> Iterator[Metric]:
    """A bucket has no end that could be told, and is no disk of this machine."""
    if not isinstance(ctx.store, FolderStore):
        return
    try:
        free_bytes = ctx.store.free_bytes()
    except OSError as error:
        log.warning("store_not_read", error=type(error).__name__)
        return
    yield single(catalog.STORE_FREE, free_bytes)
    yield single(catalog.STORE_LOW, ctx.store.low_bytes)


def _of_redis(ctx: Context) -> Iterator[Metric]:
    try:
        read = ctx.pulse.gauges.read(tuple(LANES), _QUEUES)
    except PulseError as error:
        log.warning("redis_not_read", error=type(error).__name__)
        yield single(catalog.REDIS_UP, 0)
        return
    yield single(catalog.REDIS_UP, 1)
    yield from of_redis(read, ctx.policy.lane_ttl_s)
