"""Outputs that are stored, and requests that were put aside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import sqlalchemy as sa

from schemas.jobs import Output

from .database import Transaction
from .tables import jobs, outputs, rejected

_OUTPUTS: Final = (
    sa.select(outputs, jobs.c.pruned_at.is_(None).label("kept"))
    .join(jobs, jobs.c.id == outputs.c.job_id)
    .where(outputs.c.job_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(outputs.c.job_id, outputs.c["index"])
)


def store_outputs(tx: Transaction, job_id: str, stored: Sequence[Output]) -> None:
    """Write a job's stored outputs. Written again (a download that was repeated), the rows stay as they were."""
    if stored:
        rows = [{"job_id": job_id, "stored_at": tx.now, **asdict(output)} for output in stored]
        for row in rows:
            del row["kept"]  # is the job's to say
        tx.execute(tx.insert_new(outputs), rows)


def outputs_of(tx: Transaction, job_ids: Sequence[str]) -> dict[str, list[Output]]:
    """The stored outputs of each of these jobs that has any, by index."""
    found: dict[str, list[Output]] = {}
    if not job_ids:
        return found
    for row in tx.execute(_OUTPUTS, {"ids": list(job_ids)}).mappings():
        values = dict(row)
        job_id = values.pop("job_id")
        del values["stored_at"]
        found.setdefault(job_id, []).append(Output(**values))
    return found


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
