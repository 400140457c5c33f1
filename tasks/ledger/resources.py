"""Jobs as their owner sees them through a door: pages of them, and each with what was asked for and what it cost.

Every question names the tenant: nobody is told of another one's job, not even that there is one. No tenant, `None`, is
for whoever holds a link that was signed for the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

import sqlalchemy as sa

from schemas.jobs import JobEvent, JobView, State

from .database import Transaction
from .tables import IS_OPEN, IS_QUEUED, charges, jobs, timeline
from .views import views_of

DROPIN: Final = "dropin"
"""The door whose jobs are shown as the provider's tasks, to those who are told without having asked."""
_DETAILS: Final = (
    "id",
    "resolution",
    "duration_s",
    "priority",
    "estimate_usd",
    "accepted_at",
    "changed_at",
    "batch_id",
    "door",
)


@dataclass(frozen=True, slots=True)
class JobResource:
    """A job's view, and what the view leaves out. `discount`: as the provider named it, where it named one."""

    view: JobView
    resolution: str | None
    duration_s: int | None
    priority: int
    estimate_usd: Decimal
    accepted_at: datetime
    changed_at: datetime
    batch_id: str | None
    door: str | None
    discount: str | None = None

    @property
    def id(self) -> str:
        """The job's id."""
        return self.view.job_id


def resource_of(tx: Transaction, tenant: str | None, job_id: str) -> JobResource | None:
    """A tenant's job, or `None`."""
    return next(iter(resources_of(tx, tenant, [job_id])), None)


def resources_of(tx: Transaction, tenant: str | None, job_ids: Sequence[str]) -> list[JobResource]:
    """Those of these jobs that are the tenant's, in this order."""
    if not job_ids:
        return []
    asked = sa.select(*(jobs.c[name].label(name) for name in ("tenant", *_DETAILS))).where(jobs.c.id.in_(job_ids))
    # The tenant is compared here: as a condition it has SQLite go through every job that the tenant ever had.
    rows = {row["id"]: dict(row) for row in tx.execute(asked).mappings() if tenant in (None, row["tenant"])}
    views = {view.job_id: view for view in views_of(tx, list(rows))}
    discounts = _discounts(tx, [view.job_id for view in views.values() if view.charged_usd is not None])
    found = []
    for job_id in job_ids:
        if (row := rows.get(job_id)) is not None:
            details = {name: row[name] for name in _DETAILS if name != "id"}
            found.append(JobResource(views[job_id], **details, discount=discounts.get(job_id)))
    return found


def _discounts(tx: Transaction, job_ids: Sequence[str]) -> dict[str, str]:
    if not job_ids:
        return {}
    query = sa.select(charges.c.job_id, charges.c.discount).where(charges.c.job_id.in_(job_ids))
    return {row.job_id: row.discount for row in tx.execute(query) if row.discount is not None}


def version_of(tx: Transaction, tenant: str, job_id: str) -> tuple[int, State] | None:
    """How often a tenant's job has changed, and where it stands now; `None` when the tenant has no such job."""
    query = sa.select(jobs.c.version, jobs.c.state).where(jobs.c.id == job_id, jobs.c.tenant == tenant)
    row = tx.execute(query).first()
    return None if row is None else (row.version, State(row.state))


def events_after(tx: Transaction, job_id: str, seq: int) -> list[JobEvent]:
    """The changes of a job after that of this number, in their order."""
    query = sa.select(*timeline.c["seq", "event", "state", "at"])
    query = query.where(timeline.c.job_id == job_id, timeline.c.seq > seq).order_by(timeline.c.seq)
    return [JobEvent(row.seq, row.event, State(row.state), row.at) for row in tx.execute(query)]


def has_room_for(tx: Transaction, tenant: str, number: int, most: int) -> bool:
    """Whether a tenant has so few jobs that have not ended that with so many more there are `most` at most."""
    left = most - number
    if left < 0:
        return False
    # No more are counted than matter, and in indexes of those jobs alone.
    mine = [sa.select(jobs.c.id).where(jobs.c.tenant == tenant, kind).limit(left + 1) for kind in (IS_QUEUED, IS_OPEN)]
    found = [tx.execute(sa.select(sa.func.count()).select_from(each.subquery())).scalar_one() for each in mine]
    return bool(sum(found) <= left)


def page_of(
    tx: Transaction,
    tenant: str,
    *,
    states: Sequence[State] = (),
    batch_id: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int,
) -> list[str]:
    """Ids of a page of a tenant's jobs, the latest accepted first: those after `before` (when accepted, id)."""
    # A batch is short and has an index of its own. SQLite would rather go through all jobs of the tenant, which are in
    # order already: a text that was put together is found by no index.
    owner = jobs.c.tenant if batch_id is None else jobs.c.tenant.concat("")
    query = sa.select(jobs.c.id).where(owner == tenant)
    if states:
        query = query.where(jobs.c.state.in_(sorted(states)))
    if batch_id is not None:
        query = query.where(jobs.c.batch_id == batch_id)
    if before is not None:
        query = query.where(sa.tuple_(jobs.c.accepted_at, jobs.c.id) < before)
    latest_first = query.order_by(jobs.c.accepted_at.desc(), jobs.c.id.desc()).limit(limit)
    return list(tx.execute(latest_first).scalars())
