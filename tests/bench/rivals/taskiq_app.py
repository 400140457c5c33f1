"""taskiq: one long coroutine a job, which is lost with its process. `main` takes `feed N` or `bulk N`."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from taskiq import TaskiqEvents, TaskiqState
from taskiq_redis import ListQueueBroker

from tests.bench.orders import POLL_S, REDIS_URL, ordered
from tests.bench.rivals.flow import Flow

broker = ListQueueBroker(REDIS_URL)
_kept: dict[str, Flow] = {}


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def startup(_: TaskiqState) -> None:
    _kept["flow"] = Flow()


@broker.task(task_name="run")
async def run(order: dict[str, Any]) -> None:
    flow = _kept["flow"]
    job, done = await flow.create(order), None
    while done is None:
        await asyncio.sleep(POLL_S)
        done = await flow.poll(job)
    await flow.download(done)
    await flow.record(done)


async def feed(number: int) -> None:
    await broker.startup()
    for order in ordered(number):
        await run.kiq(order)
    await broker.shutdown()


async def bulk(number: int) -> float:
    """Jobs a second, fifty calls under way at once: it has no call for many."""
    await broker.startup()
    orders = list(ordered(number))
    began_at = time.perf_counter()
    for start in range(0, number, 50):
        await asyncio.gather(*(run.kiq(order) for order in orders[start : start + 50]))
    taken_s = time.perf_counter() - began_at
    await broker.shutdown()
    return number / taken_s


def main() -> None:
    what, count = sys.argv[1], int(sys.argv[2])
    if what == "bulk":
        sys.stdout.write(f"{asyncio.run(bulk(count))}\n")
    else:
        asyncio.run(feed(count))
