"""What a restored ledger does not know: which of its jobs were created since the backup was taken.

Owns which jobs that can be, and the mark of those that are held for it. Refuses to say what became of them.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

import sqlalchemy as sa

from schemas.jobs import State
from tasks.domain.transitions import Event

from .database import Transaction
from .tables import jobs, timeline

MAY_BE_CREATED: Final = (State.QUEUED, State.ADMITTED, State.CREATING, State.UNCERTAIN)
"""Where another create is what may come next, and so may have come already."""

IS_HELD: Final[sa.ColumnElement[bool]] = (
    sa.select(timeline.c.seq)
    .where(timeline.c.job_id == jobs.c.id, timeline.c.seq == jobs.c.version, timeline.c.event == Event.HELD)
    .correlate(jobs)
    .exists()
)
"""Of a job to which nothing has happened since it was held."""


def to_hold(tx: Transaction, after: str, limit: int) -> list[str]:
    """Ids of jobs that may have been created since a backup, and are not held for it yet; in their order, from the one
    that follows `after`."""
    found = sa.select(jobs.c.id).where(jobs.c.state.in_(MAY_BE_CREATED), sa.not_(IS_HELD), jobs.c.id > after)
    return list(tx.execute(found.order_by(jobs.c.id).limit(limit)).scalars())


def is_held(tx: Transaction, job_id: str) -> bool:
    """Whether nothing has happened to a job since it was held."""
    return tx.execute(sa.select(jobs.c.id).where(jobs.c.id == job_id, IS_HELD)).first() is not None


def in_doubt_usd(tx: Transaction) -> dict[str, Decimal]:
    """USD that the budgets hold for each tenant's jobs that are held, and may come back; none for others."""
    amount = sa.func.sum(jobs.c.hold_usd).label("usd")
    held = sa.select(jobs.c.tenant, amount).where(jobs.c.state == State.UNCERTAIN, IS_HELD).group_by(jobs.c.tenant)
    return {row.tenant: row.usd for row in tx.execute(held) if row.usd is not None}


def last_change(tx: Transaction) -> datetime | None:
    """The latest change of a job that the ledger knows of; `None` without a job."""
    latest = [_latest_in(tx, state) for state in State]
    return max((each for each in latest if each is not None), default=None)


def _latest_in(tx: Transaction, state: State) -> datetime | None:
    found = sa.select(jobs.c.changed_at).where(jobs.c.state == state).order_by(jobs.c.changed_at.desc()).limit(1)
    at: datetime | None = tx.execute(found).scalar()
    return at
