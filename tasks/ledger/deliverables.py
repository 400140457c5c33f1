"""Which outputs of which jobs are in the store. Refuses to know whether they are kept: that is the job's to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import sqlalchemy as sa

from schemas.jobs import Output

from .database import Transaction
from .tables import jobs, outputs

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
