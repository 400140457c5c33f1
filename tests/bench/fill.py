"""Databases with many jobs in them, written straight into SQLite: to accept each of them would take hours."""

from __future__ import annotations

import random
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from schemas.jobs import State
from schemas.requests import parse_request
from tasks.domain.transitions import Event
from tasks.ledger import Ledger, tables
from tasks.ledger.migrate import upgrade
from tests.bench.stack import MODEL, REQUEST

_BATCH = 5000
_CONFIRM_S = 300.0
_SO_FAR = (
    (Event.ACCEPT, State.QUEUED),
    (Event.ADMIT, State.ADMITTED),
    (Event.BEGIN, State.CREATING),
    (Event.ACCEPTED, State.GENERATING),
)


def held_jobs(database: Path, number: int, *, spread_s: float) -> None:
    """A new database with so many generating jobs whose provider tasks never complete.

    They were created over the last `spread_s` seconds, and the sweep has its say about each of them within five
    minutes, as in a system that has run for long.
    """
    ledger = Ledger(f"sqlite:///{database}")
    upgrade(ledger)
    request = parse_request(REQUEST)
    stored = request.to_dict()
    draw = random.Random(7)
    for start in range(0, number, _BATCH):
        with ledger.begin("fill") as tx:
            rows: list[dict[str, Any]] = []
            timeline: list[dict[str, Any]] = []
            for index in range(start, min(start + _BATCH, number)):
                since = tx.now - timedelta(seconds=draw.uniform(0, spread_s))
                rows.append(
                    {
                        "id": f"held-{index:07d}",
                        "tenant": "default",
                        "fingerprint": f"{index:064x}",
                        "model": MODEL,
                        "resolution": request.resolution,
                        "duration_s": request.duration,
                        "request": stored,
                        "priority": 0,
                        "estimate_usd": request.estimate_usd(),
                        "state": State.GENERATING,
                        "version": len(_SO_FAR),
                        "tries": 0,
                        "claimed": False,
                        "accepted_at": since,
                        "changed_at": since,
                        "generating_at": since,
                        "lease_until": tx.now + timedelta(seconds=draw.uniform(0, _CONFIRM_S)),
                        "key_alias": "main",
                        "provider_task_id": f"held-{index:07d}",
                    }
                )
                timeline += [
                    {
                        "job_id": f"held-{index:07d}",
                        "seq": seq,
                        "event": event,
                        "state": state,
                        "at": since,
                        "detail": {},
                    }
                    for seq, (event, state) in enumerate(_SO_FAR, start=1)
                ]
            tx.execute(sa.insert(tables.jobs), rows)
            tx.execute(sa.insert(tables.timeline), timeline)
    ledger.close()


def multiply(database: Path, times: int) -> None:
    """Have each row of the ledger stand there so many times, under other ids and each on another day: the finished
    jobs of a system that has run for long, without knowing what a finished job is made of.
    """
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("CREATE TEMP TABLE copies (copy INTEGER PRIMARY KEY, suffix TEXT)")
        # Named by how many there are as well, so that what was multiplied can be multiplied again.
        connection.executemany("INSERT INTO copies VALUES (?, ?)", ((n, f"-{times}-{n}") for n in range(1, times)))
        for table in tables.metadata.sorted_tables:
            if any(_is_id(column) for column in table.c):
                columns = ", ".join(f'"{column.name}"' for column in table.c)
                values = ", ".join(_copied(column) for column in table.c)
                connection.execute(
                    f'INSERT INTO "{table.name}" ({columns}) SELECT {values} FROM "{table.name}" CROSS JOIN copies'
                )
        connection.commit()
    connection.close()


def _is_id(column: sa.Column[Any]) -> bool:
    """What makes a row one of its own, or names another one's."""
    return column.name == "id" or column.name.endswith("_id")


def _copied(column: sa.Column[Any]) -> str:
    name = f'"{column.name}"'
    if _is_id(column):
        return f"{name} || copies.suffix"
    if column.name == "idempotency_key":
        return "NULL"
    if column.name.endswith("_at") and column.name != "not_before":
        return f"strftime('%Y-%m-%d %H:%M:%f000', {name}, '-' || copies.copy || ' days')"
    return name
