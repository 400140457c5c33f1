"""The steps of a job over kept connections, for the engines that run coroutines."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import redis.asyncio

from tests.bench.orders import DONE, FOLDER, PROVIDER_URL, REDIS_URL, create_body, job_hash

_CREATE = f"{PROVIDER_URL}/model/v1/generation"


class Flow:
    """One HTTP session and one pool of Redis connections a process."""

    def __init__(self) -> None:
        kept = aiohttp.TCPConnector(limit=100, keepalive_timeout=60)
        self._http = aiohttp.ClientSession(connector=kept, headers={"Authorization": "Bearer sk-bench"})
        pool = redis.asyncio.BlockingConnectionPool.from_url(REDIS_URL, max_connections=20, timeout=None)
        self._records = redis.asyncio.Redis(connection_pool=pool)

    async def create(self, order: dict[str, Any]) -> dict[str, Any]:
        async with self._http.post(_CREATE, json=create_body(order)) as answer:
            answer.raise_for_status()
            return {"id": order["id"], "task": (await answer.json())["id"]}

    async def poll(self, job: dict[str, Any]) -> dict[str, Any] | None:
        """The job with what the provider made of it; `None` while it is in progress."""
        async with self._http.get(f"{_CREATE}/task/{job['task']}") as answer:
            answer.raise_for_status()
            body = await answer.json()
        if body["status"] != "completed":
            return None
        return {**job, "url": body["output"][0]["content"][0]["url"], "cost": body["usage"]["cost"]}

    async def download(self, job: dict[str, Any]) -> None:
        async with self._http.get(job["url"]) as answer:
            answer.raise_for_status()
            with Path(FOLDER, f"{job['id']}.mp4").open("wb") as file:
                async for chunk in answer.content.iter_chunked(256 * 1024):
                    file.write(chunk)

    async def record(self, job: dict[str, Any]) -> None:
        async with self._records.pipeline(transaction=False) as pipe:
            pipe.hset(f"job:{job['id']}", mapping=job_hash(job))
            pipe.rpush(DONE, json.dumps([job["task"], time.time()]))
            await pipe.execute()
