"""Counts who waits, for those who look on: each tenant's line, and since when its first job has been in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from .database import Transaction
from .tables import IS_QUEUED, jobs

_LINES: Final = (
    sa.select(
        jobs.c.tenant,
        sa.func.count().label("waiting"),
        sa.func.min(jobs.c.accepted_at).label("oldest"),
    )
    .where(IS_QUEUED)
    .group_by(jobs.c.tenant)
)


@dataclass(frozen=True, slots=True)
class WaitingLine:
    """A tenant's queued jobs."""

    tenant: str
    waiting: int
    oldest_accepted_at: datetime


def waiting_lines(tx: Transaction) -> list[WaitingLine]:
    """The lines of all who wait. Takes a look at each job that does."""
    return [WaitingLine(row.tenant, row.waiting, row.oldest) for row in tx.execute(_LINES)]
