"""What the provider remembers of its tasks over a restart: one JSON file for each, on disk before a create is answered.

Owns the form of these files and their reading. Refuses to hold keys or the prose of prompts: a key stands here by its
alias, a prompt by its camera instructions. Pictures stand in a file until its task has ended.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from .camera import parse
from .scenario import read_plan
from .tasks import Task
from .validation import Order, Picture

KEPT_S: Final = 86400.0
"""Real seconds after its last change that a record may be dropped, unless its task is still going to end."""

_FORM: Final = 1
"""Stands in each record: raise it with the form, so that a record of another form is passed over, not misread."""


class Records:
    """The records in a folder. Written by threads of their own, so that the event loop never waits for the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="records")

    async def keep(self, task: Task, status: str) -> None:
        """Writes a task as it is, but for its status. Returns when the record is on disk. Raises `OSError`."""
        await asyncio.get_running_loop().run_in_executor(self._pool, self._write, task, status)

    def load(self, accepted: set[str], now_s: float) -> Iterator[Task]:
        """The tasks on record that are among the `accepted` ones, at an instant in epoch seconds.

        A record of any other task is that of a create which was never answered, or belongs to another bill. Unreadable
        records are passed over with a line on stderr. Drops records that nobody will ask for any more.
        """
        for path in sorted(self._folder.iterdir()):
            stale = path.stat().st_mtime < now_s - KEPT_S
            if path.suffix != ".json" or path.stem not in accepted:
                if stale and path.suffix in (".json", ".part"):
                    path.unlink()
                continue
            try:
                task = from_record(path.stem, json.loads(path.read_bytes()))
            except (OSError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
                # The error's words may quote the record.
                sys.stderr.write(f"simulator: task record {path.name} passed over ({type(error).__name__})\n")
                continue
            if stale and (task.status != "in_progress" or task.plan.poll.never):
                path.unlink()
                continue
            yield task

    def _write(self, task: Task, status: str) -> None:
        path = self._folder / f"{task.id}.json"
        part = path.with_suffix(".part")
        # A record holds what its sender showed to nobody else.
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(json.dumps(to_record(task, status), separators=(",", ":")).encode())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)  # the file's name
        finally:
            os.close(folder)

    def close(self) -> None:
        """Waits for the records being written."""
        self._pool.shutdown()


def to_record(task: Task, status: str) -> dict[str, Any]:
    """A task as JSON, with this status. Instants are epoch seconds, money is a string, pictures are base64."""
    order = task.order
    return {
        "form": _FORM,
        "id": task.id,
        "key": task.key,
        "status": status,
        "created_s": task.created_s,
        "latency_s": task.latency_s,
        "host": task.host,
        "order": {
            "model": order.model,
            "first": _picture_record(order.first),
            "last": _picture_record(order.last),
            "instructions": parse(order.prompt),
            "duration_s": order.duration_s,
            "resolution": order.resolution,
            "callback_url": order.callback_url,
            "watermark": order.watermark,
        },
        "plan": asdict(task.plan),
        "ended_s": task.ended_s,
        "cost_usd": None if task.cost_usd is None else str(task.cost_usd),
        "error": task.error,
        "film": task.film,
    }


def from_record(task_id: str, record: dict[str, Any]) -> Task:
    """The task of this id and record, begun as long ago as it was created. Its outputs are left to whoever knows
    where films are.

    Raises `ValueError`, `TypeError`, `LookupError` or `ArithmeticError` for anything that `to_record` did not write.
    """
    if record["form"] != _FORM or record["id"] != task_id:
        raise ValueError("a record of another form or task")
    raw = record["order"]
    order = Order(
        model=raw["model"],
        first=_read_picture(raw["first"]),
        last=_read_picture(raw["last"]),
        prompt="".join(f"[{','.join(names)}]" for names in raw["instructions"]),
        duration_s=raw["duration_s"],
        resolution=raw["resolution"],
        callback_url=raw["callback_url"],
        watermark=raw["watermark"],
    )
    created_s, ended_s = float(record["created_s"]), record["ended_s"]
    error, cost_usd = record["error"], record["cost_usd"]
    if record["status"] not in ("in_progress", "completed", "failed"):
        raise ValueError("an unknown status")
    return Task(
        id=task_id,
        key=record["key"],
        order=order,
        plan=read_plan(record["plan"]),
        latency_s=float(record["latency_s"]),
        host=record["host"],
        created_s=created_s,
        begun_s=time.monotonic() - max(0.0, time.time() - created_s),
        status=record["status"],
        ended_s=None if ended_s is None else float(ended_s),
        cost_usd=None if cost_usd is None else Decimal(cost_usd),
        error=None if error is None else (error[0], error[1]),
        film=record["film"],
    )


def _picture_record(picture: Picture | None) -> dict[str, str | None] | None:
    if picture is None:
        return None
    data = None if picture.data is None else base64.b64encode(picture.data).decode()
    return {"data": data, "url": picture.url}


def _read_picture(raw: dict[str, Any] | None) -> Picture | None:
    if raw is None:
        return None
    data = raw["data"]
    return Picture(data=None if data is None else base64.b64decode(data, validate=True), url=raw["url"])
