"""What all engines but Reelworks share: where things are, what is asked for, what is recorded. No package needed."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

PROVIDER_URL = os.environ.get("BENCH_PROVIDER_URL", "")
REDIS_URL = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:1/0")
FOLDER = os.environ.get("BENCH_FOLDER", "")
POLL_S = float(os.environ.get("BENCH_POLL_S", "2"))
DONE = "bench:done"
"""List: the provider task of each job that is done, and when, in epoch seconds."""


def environment(*, redis_url: str, provider_url: str, folder: str, poll_s: float) -> dict[str, str]:
    """The variables that this module reads, in a process of an engine."""
    return {
        "BENCH_REDIS_URL": redis_url,
        "BENCH_PROVIDER_URL": provider_url,
        "BENCH_FOLDER": folder,
        "BENCH_POLL_S": f"{poll_s:g}",
    }


def order() -> dict[str, Any]:
    """One job as a dictionary; Reelworks is asked for the same (`tests.bench.stack.REQUEST`)."""
    prompt = "a red kite over a harbour at dusk, [push in] towards the lighthouse, long shadows, calm sea " * 2
    return {
        "id": str(uuid.uuid4()),
        "model": "minimax_hailuo_02_i2v",
        "first_frame_image": "https://pictures.example/first.jpg",
        "prompt": prompt,
        "resolution": "512P",
        "duration": 6,
        "metadata": {"scene": 12, "take": 3},
    }


def ordered(number: int) -> Iterator[dict[str, Any]]:
    for _ in range(number):
        yield order()


def create_body(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The provider's form of it."""
    params = {name: asked[name] for name in ("first_frame_image", "prompt", "resolution", "duration")}
    return {"model": asked["model"], "input": [{"params": params}]}


def job_hash(job: Mapping[str, Any]) -> dict[str, str]:
    """What is written of a job that is done: its task, its cost, when."""
    return {"task": job["task"], "state": "completed", "cost": job["cost"], "at": f"{time.time():.3f}"}
