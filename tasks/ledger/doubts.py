"""What is in doubt between us and the provider, read for people: uncertain jobs, tasks whose cost may be missing.

Owns no statement that writes. Nothing given out here holds a prompt, an image or a URL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from schemas.jobs import State
from tasks.domain.transitions import HOLDS_SLOT

from .database import Transaction
from .holding import IS_HELD
from .reports import Attempt
from .tables import attempts, charges, jobs


@dataclass(frozen=True, slots=True)
class UncertainJob:
    """A parked job with its evidence. `provider_task_id` is known where the provider lost it.

    `held`: since the ledger was restored; none of its attempts may be the one that created it.
    """

    job_id: str
    tenant: str
    model: str
    key_alias: str | None
    provider_task_id: str | None
    since: datetime
    estimate_usd: Decimal
    cancel_requested: bool
    holds_slot: bool
    held: bool
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class TaskOfOurs:
    """A provider task of ours, with what the ledger holds about it.

    `attempt_id` is given for one that no job follows. `charged_usd` is `None` where nothing was charged.
    """

    job_id: str
    state: State
    provider_task_id: str
    key_alias: str | None
    attempt_id: str | None
    charged_usd: Decimal | None
    estimated: bool


def uncertain_jobs(tx: Transaction, slot_s: float, limit: int) -> list[UncertainJob]:
    """Jobs that wait for somebody to say what became of their create, the longest first."""
    query = sa.select(jobs, IS_HELD.label("held")).where(jobs.c.state == State.UNCERTAIN)
    rows = list(tx.execute(query.order_by(jobs.c.changed_at, jobs.c.id).limit(limit)))
    evidence = _attempts(tx, [row.id for row in rows])
    return [
        UncertainJob(
            job_id=row.id,
            tenant=row.tenant,
            model=row.model,
            key_alias=row.key_alias,
            provider_task_id=row.provider_task_id,
            since=row.changed_at,
            estimate_usd=row.estimate_usd,
            cancel_requested=row.cancel_requested_at is not None,
            holds_slot=(tx.now - row.changed_at).total_seconds() < slot_s,
            held=bool(row.held),
            attempts=tuple(evidence.get(row.id, ())),
        )
        for row in rows
    ]


def _attempts(tx: Transaction, job_ids: Sequence[str]) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = {}
    columns = [attempts.c[name] for name in Attempt.__slots__]
    query = sa.select(attempts.c.job_id, *columns).where(attempts.c.job_id.in_(job_ids))
    for row in tx.execute(query.order_by(attempts.c.job_id, attempts.c.number)).mappings():
        values: dict[str, Any] = dict(row)
        found.setdefault(values.pop("job_id"), []).append(Attempt(**values))
    return found


def tasks_to_compare(tx: Transaction, since: datetime | None) -> list[TaskOfOurs]:
    """Provider tasks that are open, in doubt, not charged, or charged by an estimate; jobs accepted from `since` on."""
    price = (charges.c.amount_usd.label("charged_usd"), charges.c.estimated)
    of_job = sa.select(jobs.c.id, jobs.c.state, jobs.c.provider_task_id, jobs.c.key_alias, *price)
    joined = of_job.outerjoin_from(jobs, charges, charges.c.provider_task_id == jobs.c.provider_task_id)
    open_or_doubtful = jobs.c.state.in_(sorted(HOLDS_SLOT)) | charges.c.provider_task_id.is_(None) | charges.c.estimated
    bound = joined.where(jobs.c.provider_task_id.is_not(None), open_or_doubtful)
    of_attempt = sa.select(
        attempts.c.id.label("attempt_id"), jobs.c.id, jobs.c.state, attempts.c.provider_task_id, attempts.c.key_alias
    ).join_from(attempts, jobs)
    stray = of_attempt.where(attempts.c.settle_at.is_not(None), attempts.c.provider_task_id.is_not(None))
    if since is not None:
        bound, stray = bound.where(jobs.c.accepted_at >= since), stray.where(jobs.c.accepted_at >= since)
    found = [_task(row, row.charged_usd, estimated=bool(row.estimated)) for row in tx.execute(bound)]
    found += [_task(row, None, attempt_id=row.attempt_id) for row in tx.execute(stray)]
    return sorted(found, key=lambda task: (task.job_id, task.provider_task_id))


def _task(
    row: Any, charged_usd: Decimal | None, *, estimated: bool = False, attempt_id: str | None = None
) -> TaskOfOurs:
    state = State(row.state)
    return TaskOfOurs(row.id, state, row.provider_task_id, row.key_alias, attempt_id, charged_usd, estimated)
