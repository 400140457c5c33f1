"""arq: durable, one job a poll, put off by its own `Retry`. `main` takes `feed N` or `bulk N`."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any, ClassVar

from arq import Retry, create_pool
from arq.connections import RedisSettings

from tests.bench.orders import POLL_S, REDIS_URL, ordered
from tests.bench.rivals.flow import Flow

_REDIS = RedisSettings.from_dsn(REDIS_URL)


async def startup(ctx: dict[str, Any]) -> None:
    ctx["flow"] = Flow()


async def submit(ctx: dict[str, Any], order: dict[str, Any]) -> None:
    await ctx["redis"].enqueue_job("poll", await ctx["flow"].create(order), _defer_by=POLL_S)


async def poll(ctx: dict[str, Any], job: dict[str, Any]) -> None:
    done = await ctx["flow"].poll(job)
    if done is None:
        raise Retry(defer=POLL_S)
    await ctx["redis"].enqueue_job("download", done)


async def download(ctx: dict[str, Any], job: dict[str, Any]) -> None:
    await ctx["flow"].download(job)
    await ctx["redis"].enqueue_job("record", job)


async def record(ctx: dict[str, Any], job: dict[str, Any]) -> None:
    await ctx["flow"].record(job)


class WorkerSettings:
    functions: ClassVar = [submit, poll, download, record]
    on_startup = startup
    redis_settings = _REDIS
    max_jobs = 200
    max_tries = 1_000_000
    poll_delay = 0.1
    keep_result = 0
    job_timeout = 120
    health_check_interval = 3600


async def feed(number: int) -> None:
    pool = await create_pool(_REDIS)
    for order in ordered(number):
        await pool.enqueue_job("submit", order)


async def bulk(number: int) -> float:
    """Jobs a second, as many under way at once as its connections allow: it has no call for many."""
    pool = await create_pool(_REDIS)
    orders = list(ordered(number))
    began_at = time.perf_counter()
    for start in range(0, number, 50):
        await asyncio.gather(*(pool.enqueue_job("submit", order) for order in orders[start : start + 50]))
    return number / (time.perf_counter() - began_at)


def main() -> None:
    what, count = sys.argv[1], int(sys.argv[2])
    if what == "bulk":
        sys.stdout.write(f"{asyncio.run(bulk(count))}\n")
    else:
        asyncio.run(feed(count))
