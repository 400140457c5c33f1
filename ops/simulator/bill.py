"""The bill: an append-only file of JSON lines that says what the provider accepted, charged and delivered.

Owns writing (fsynced before the answer it vouches for is sent) and reading. Refuses to hold keys, prompts or URLs: a
key stands here by its alias.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Create:
    """One accepted create. `key` is the alias of the key that pays; `at` is aware, UTC; `fingerprint` is `None` on a
    bill that was written without."""

    task: str
    key: str
    at: datetime
    model: str
    resolution: str
    duration_s: int
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """What one task cost, at the moment it ended."""

    task: str
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Delivery:
    """One output file served from its first byte to its last."""

    task: str
    index: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Bill:
    """All lines of a bill, in the order written."""

    creates: tuple[Create, ...] = ()
    prices: tuple[Price, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    usd_by_task: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def billed_usd(self) -> Decimal:
        """The total of all prices."""
        return sum((price.cost_usd for price in self.prices), Decimal(0))


def key_alias(key: str) -> str:
    """The name under which a key stands in the bill, in scenarios and in the admin answers."""
    return "key-" + hashlib.sha256(key.encode()).hexdigest()[:10]


def fingerprint_of(params: Mapping[str, Any]) -> str:
    """By what a create is found again without a look at its prompt: SHA-256 (hex) of its decoded `params`, written as
    ASCII JSON with sorted keys and no spaces. Creates with the same parameters have the same one."""
    return hashlib.sha256(json.dumps(params, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_bill(path: Path) -> Bill:
    """The bill in a file; an empty one when there is no file. A last line cut short by a crash is passed over: its
    answer was never sent. Raises `ValueError` for any other unreadable line."""
    raw = path.read_bytes() if path.exists() else b""
    creates: list[Create] = []
    prices: list[Price] = []
    deliveries: list[Delivery] = []
    usd_by_task: dict[str, Decimal] = {}
    for line in raw[: raw.rfind(b"\n") + 1].splitlines():
        entry = json.loads(line)
        task = entry["task"]
        if entry["kind"] == "create":
            at = datetime.fromisoformat(entry["at"])
            ordered = (entry["model"], entry["resolution"], entry["duration"])
            creates.append(Create(task, entry["key"], at, *ordered, entry.get("fingerprint")))
        elif entry["kind"] == "price":
            cost_usd = Decimal(entry["cost_usd"])
            prices.append(Price(task, cost_usd))
            usd_by_task[task] = usd_by_task.get(task, Decimal(0)) + cost_usd
        elif entry["kind"] == "delivery":
            deliveries.append(Delivery(task, entry["index"], entry["bytes"]))
    return Bill(tuple(creates), tuple(prices), tuple(deliveries), usd_by_task)


class BillWriter:
    """Appends lines to a bill from one event loop.

    Lines that come while the disk is busy go out together with the next fsync, so that a burst of creates costs a few
    of them and the event loop never waits for the disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        _cut_torn_line(path)
        self._file = path.open("ab", buffering=0)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="bill")
        self._lines: list[bytes] = []
        self._written: asyncio.Future[None] | None = None
        self._busy: asyncio.Task[None] | None = None

    async def create(
        self, *, task: str, key: str, model: str, resolution: str, duration_s: int, fingerprint: str
    ) -> None:
        """Writes that a create was accepted. Returns when the line is on disk."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        about = {"model": model, "resolution": resolution, "duration": duration_s, "fingerprint": fingerprint}
        await self._append({"kind": "create", "task": task, "key": key, "at": at, **about})

    async def price(self, task: str, cost_usd: Decimal) -> None:
        """Writes what a task cost. Returns when the line is on disk."""
        await self._append({"kind": "price", "task": task, "cost_usd": str(cost_usd)})

    async def delivery(self, task: str, index: int, size_bytes: int) -> None:
        """Writes that a file was served whole. Returns when the line is on disk."""
        await self._append({"kind": "delivery", "task": task, "index": index, "bytes": size_bytes})

    async def _append(self, entry: Mapping[str, Any]) -> None:
        self._lines.append(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        if self._written is None:
            self._written = asyncio.get_running_loop().create_future()
        written = self._written
        if self._busy is None:
            self._busy = asyncio.create_task(self._write_all())
        await asyncio.shield(written)

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._written is not None:
                written, self._written = self._written, None
                lines, self._lines = b"".join(self._lines), []
                try:
                    await loop.run_in_executor(self._pool, self._write, lines)
                except OSError as error:
                    written.set_exception(error)
                else:
                    written.set_result(None)
        finally:
            self._busy = None

    def _write(self, lines: bytes) -> None:
        while lines:
            lines = lines[self._file.write(lines) :]
        os.fsync(self._file.fileno())

    async def close(self) -> None:
        """Writes what is left and closes the file."""
        if self._busy is not None:
            await self._busy
        self._pool.shutdown()
        self._file.close()


def _cut_torn_line(path: Path) -> None:
    # What a crash left of a line would otherwise run together with the next one.
    if path.exists():
        raw = path.read_bytes()
        whole = raw.rfind(b"\n") + 1
        if whole < len(raw):
            os.truncate(path, whole)
