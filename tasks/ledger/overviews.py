"""What one tenant sees of its own at a glance: what waits, what is under way, what was spent, what failed lately.

Refuses to tell of other tenants, or of what all have together, but for a pause of all, which is its own too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import sqlalchemy as sa

from schemas.jobs import State
from tasks.domain.budgets import Budget
from tasks.domain.pauses import Pause

from .admission import held_by_tenant, open_tasks
from .database import Transaction
from .pauses import pauses_for
from .spending import budgets_now
from .tables import IS_OPEN, IS_QUEUED, jobs, spending, tenants

FAILED_S: Final = 86_400
"""So far back failures are lately."""
FAILED_MOST: Final = 100
"""So many of them are read."""

_mine: Final[sa.ColumnElement[bool]] = jobs.c.tenant == sa.bindparam("mine")
_WAITING: Final = sa.select(sa.func.count().label("waiting"), sa.func.min(jobs.c.accepted_at).label("oldest")).where(
    IS_QUEUED, _mine
)
# Of all tenants: for the sake of one of them SQLite would go through every job of its past.
_UNDER_WAY: Final = (
    sa.select(jobs.c.tenant, jobs.c.state, sa.func.count().label("jobs"))
    .where(IS_OPEN)
    .group_by(jobs.c.tenant, jobs.c.state)
)
# By the instants of all failures: a tenant that has none would have every job of its past looked at else.
_FAILED: Final = (
    sa.select(jobs.c.id)
    .where(jobs.c.state == State.FAILED, jobs.c.changed_at >= sa.bindparam("since"), _mine)
    .order_by(jobs.c.changed_at.desc(), jobs.c.id.desc())
    .limit(FAILED_MOST)
)


@dataclass(frozen=True, slots=True)
class Overview:
    """How a tenant stands now. `slots_most`: of its own settings; `None`: as many as there are."""

    waiting: int
    oldest_accepted_at: datetime | None
    under_way: Mapping[State, int]
    slots: int
    slots_most: int | None
    spent_today_usd: Decimal
    held_usd: Decimal
    budgets: tuple[Budget, ...]
    failed: tuple[str, ...]
    """Ids of the jobs that failed in the last `FAILED_S` seconds, the latest first, `FAILED_MOST` at most."""
    pauses: tuple[Pause, ...]
    """Why nothing of it is created now: the pause of all, and its own."""


def overview_of(tx: Transaction, tenant: str, uncertain_s: float) -> Overview:
    """How a tenant stands. `uncertain_s`: for how long a job in doubt takes its slot."""
    asked = {"mine": tenant}
    line = tx.execute(_WAITING, asked).one()
    states = {State(row.state): row.jobs for row in tx.execute(_UNDER_WAY) if row.tenant == tenant}
    all_open = open_tasks(tx, uncertain_s)
    mine = [each for each in all_open if each.tenant == tenant]
    most = tx.execute(sa.select(tenants.c.open_limit).where(tenants.c.name == tenant)).scalar()
    today = (spending.c.tenant == tenant) & (spending.c.day == tx.now.date())
    since = tx.now - timedelta(seconds=FAILED_S)
    return Overview(
        waiting=line.waiting,
        oldest_accepted_at=line.oldest,
        under_way=states,
        slots=sum(each.tasks for each in mine),
        slots_most=most,
        spent_today_usd=tx.execute(sa.select(spending.c.amount_usd).where(today)).scalar() or Decimal(0),
        held_usd=sum((each.held_usd for each in mine), Decimal(0)),
        budgets=tuple(each for each in budgets_now(tx, held_by_tenant(all_open)) if each.tenant == tenant),
        failed=tuple(tx.execute(_FAILED, {**asked, "since": since}).scalars()),
        pauses=tuple(pauses_for(tx, tenant)),
    )
