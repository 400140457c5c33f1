"""Messages that ask for a film by Celery, and how they are put where workers take them from."""

from __future__ import annotations

import base64
import json
from typing import Any

from schemas.keys import ENQUEUE_QUEUE
from tasks.enqueued import TASK
from tests.support.bench import MODEL, URL, Bench

REQUEST = {"model": MODEL, "first_frame_image": URL}


def message(task: str = TASK, task_id: str | None = "job-7", **changes: Any) -> dict[str, Any]:
    """A message of Celery's protocol 2 that asks for `REQUEST`, but for `changes`."""
    return {
        "body": body([[REQUEST], {}, {}]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": task, "id": task_id},
        "properties": {"body_encoding": "base64"},
        **changes,
    }


def body(arguments: Any) -> str:
    """What stands as the body of a message with these arguments: positional, by name, embedded."""
    return base64.b64encode(json.dumps(arguments).encode()).decode()


def enqueued(bench: Bench, *messages: Any, queue: str = ENQUEUE_QUEUE) -> None:
    """Put messages (or bytes that are to stand for one) into a queue, and have what is there accepted."""
    for each in messages:
        raw = each if isinstance(each, bytes) else json.dumps(each).encode()
        bench.ctx.pulse.redis.lpush(queue, raw)
    bench.turn("accept")
