"""What came through a door and could not be accepted, or carried out: kept with its reason, until it is put back.

Only `aside` gives out what it holds, which can be prompts and images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from .database import Transaction
from .tables import rejected

_COLUMNS: Final = rejected.c["id", "job_id", "reason", "at"]


@dataclass(frozen=True, slots=True)
class PutAside:
    """What was put aside. `entry_id`: of the stream entry, a command's with `command:` before it."""

    entry_id: str
    job_id: str | None
    reason: str
    at: datetime


def put_aside(tx: Transaction, entry_id: str, job_id: str | None, reason: str, entry: Mapping[str, Any]) -> None:
    """Keep what came through a door and could not be accepted, with its reason."""
    row = {"id": entry_id, "job_id": job_id, "reason": reason, "entry": dict(entry), "at": tx.now}
    tx.execute(tx.insert_new(rejected), row)


def aside(tx: Transaction, entry_id: str) -> tuple[str | None, dict[str, str]] | None:
    """What was put aside, whole: the id of its job, and its fields, which can hold prompts and images. `None`: nothing.

    Of a command fields are cut short.
    """
    found = tx.execute(sa.select(rejected.c.job_id, rejected.c.entry).where(rejected.c.id == entry_id)).first()
    return None if found is None else (found.job_id, found.entry)


def remove_aside(tx: Transaction, entry_id: str) -> None:
    """Forget what was put aside. It has to stand elsewhere by then."""
    tx.execute(sa.delete(rejected).where(rejected.c.id == entry_id))


def requests_aside(tx: Transaction, reason: str = "") -> list[str]:
    """Entries of all requests that were put aside, the oldest first; only those whose reason has this text in it."""
    query = sa.select(rejected.c.id).where(rejected.c.id.not_like("command:%"))
    if reason:
        query = query.where(rejected.c.reason.contains(reason, autoescape=True))
    return list(tx.execute(query.order_by(rejected.c.at, rejected.c.id)).scalars())


def refusal(tx: Transaction, job_id: str) -> PutAside | None:
    """The latest request that was put aside instead of becoming this job."""
    query = sa.select(*_COLUMNS).where(rejected.c.job_id == job_id)
    return next(iter(_found(tx, query.order_by(rejected.c.at.desc()).limit(1))), None)


def refusals(tx: Transaction, limit: int) -> list[PutAside]:
    """What was put aside at the doors in Redis, the latest first."""
    return _found(tx, sa.select(*_COLUMNS).order_by(rejected.c.at.desc(), rejected.c.id.desc()).limit(limit))


def _found(tx: Transaction, query: sa.Select[Any]) -> list[PutAside]:
    return [PutAside(row.id, row.job_id, row.reason, row.at) for row in tx.execute(query)]
