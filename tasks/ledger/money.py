"""Attempts and charges: the write-ahead of every create, and one charge a provider task."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from schemas.jobs import State
from tasks.domain.job import Job
from tasks.domain.prices import MICRO_USD, Charged, Price

from . import spending
from .database import LedgerConflict, Transaction
from .tables import attempts, charges, jobs

# The statements of a job's everyday way, made once (`tasks.ledger.jobs` says why).
_number: Final = sa.select(sa.func.count() + 1).where(attempts.c.job_id == sa.bindparam("of_job")).scalar_subquery()
_BEGIN: Final = sa.insert(attempts).values(number=_number)
_SET: Final = sa.update(attempts).where(attempts.c.id == sa.bindparam("attempt"))
_END: Final = _SET.returning(attempts.c.begun_at)
_LATEST: Final = (
    sa.select(attempts.c.id)
    .where(attempts.c.job_id == sa.bindparam("of_job"))
    .order_by(attempts.c.number.desc())
    .limit(1)
)
_task: Final = sa.bindparam("task", type_=sa.String)
_OWNER: Final = (
    sa.select(jobs.c.id)
    .where(jobs.c.provider_task_id == _task)
    .union_all(sa.select(attempts.c.job_id).where(attempts.c.provider_task_id == _task))
    .limit(1)
)
_TAKE_BACK: Final = (
    sa.delete(charges)
    .where(charges.c.provider_task_id == _task, charges.c.estimated)
    .returning(charges.c.tenant, charges.c.charged_at, charges.c.amount_usd)
)


def begin_attempt(tx: Transaction, job: Job) -> str:
    """Commit-to-be of one create call, before it is made; gives the attempt's id."""
    attempt_id = str(uuid.uuid4())
    row = {"id": attempt_id, "job_id": job.id, "key_alias": job.key_alias, "begun_at": tx.now}
    tx.execute(_BEGIN, {**row, "of_job": job.id})
    return attempt_id


def end_attempt(
    tx: Transaction,
    attempt_id: str,
    outcome: str,
    *,
    reason: str | None = None,
    http_status: int | None = None,
    provider_task_id: str | None = None,
) -> datetime | None:
    """Write what became of an attempt: its outcome and the evidence. Gives when it began; `None`: there is no such."""
    written = {"outcome": outcome, "reason": reason, "http_status": http_status, "ended_at": tx.now}
    begun_at: datetime | None = tx.execute(
        _END, {"attempt": attempt_id, **written, "provider_task_id": provider_task_id}
    ).scalar()
    return begun_at


def open_attempt(tx: Transaction, job_id: str) -> str | None:
    """The id of the job's latest attempt whose outcome was never written."""
    latest = sa.select(attempts.c.id).where(attempts.c.job_id == job_id, attempts.c.outcome.is_(None))
    return tx.execute(latest.order_by(attempts.c.number.desc()).limit(1)).scalar()


@dataclass(frozen=True, slots=True)
class AttemptOf:
    """Whose attempt one is, where that job stands, and whether no other attempt of it came later."""

    job_id: str
    state: State
    is_latest: bool


def attempt_of(tx: Transaction, attempt_id: str) -> AttemptOf | None:
    """The job of an attempt; `None` when there is no such attempt."""
    query = sa.select(attempts.c.job_id, jobs.c.state).join(jobs, jobs.c.id == attempts.c.job_id)
    row = tx.execute(query.where(attempts.c.id == attempt_id)).first()
    if row is None:
        return None
    return AttemptOf(row.job_id, State(row.state), latest_attempt(tx, row.job_id) == attempt_id)


def latest_attempt(tx: Transaction, job_id: str) -> str | None:
    """The id of the job's latest attempt, whatever became of it."""
    return tx.execute(_LATEST, {"of_job": job_id}).scalar()


def doubtful_attempts(tx: Transaction, job_id: str) -> int:
    """How many creates of a job may have been accepted without an id that is known: each may have cost something."""
    found: int = tx.execute(count_doubtful(sa.literal(job_id))).scalar_one()
    return found


def count_doubtful(job_id: sa.ColumnElement[str]) -> sa.Select[int]:
    """The query of `doubtful_attempts`, also for a job of the query around it."""
    unknown = attempts.c.outcome.is_(None) | (attempts.c.outcome == "unknown")
    return sa.select(sa.func.count()).select_from(attempts).where(attempts.c.job_id == job_id, unknown)


@dataclass(frozen=True, slots=True)
class Stray:
    """A provider task that no job follows: named too late, or its job was created anew. Paid for all the same."""

    attempt_id: str
    job_id: str
    provider_task_id: str
    key_alias: str
    age_s: float
    """Since its attempt began."""


def settle_later(tx: Transaction, attempt_id: str, after_s: float) -> None:
    """Have it asked in `after_s` seconds what the provider task of an attempt cost, which no job will ask."""
    due = tx.now + timedelta(seconds=after_s)
    tx.execute(_SET, {"attempt": attempt_id, "settle_at": due})


def name_task(tx: Transaction, attempt_id: str, provider_task_id: str, settle_at: datetime | None = None) -> None:
    """Note which provider task an attempt made after all; with `settle_at`, one that no job follows."""
    tx.execute(_SET, {"attempt": attempt_id, "provider_task_id": provider_task_id, "settle_at": settle_at})


def owner_of_task(tx: Transaction, provider_task_id: str) -> str | None:
    """The job whose provider task this is, or once was."""
    return tx.execute(_OWNER, {"task": provider_task_id}).scalar()


def is_known_task(tx: Transaction, provider_task_id: str) -> bool:
    """Whether a provider task is, or was, a job's, or was charged to one that is not kept any more."""
    if owner_of_task(tx, provider_task_id) is not None:
        return True
    charged = sa.select(charges.c.provider_task_id).where(charges.c.provider_task_id == provider_task_id)
    return tx.execute(charged).first() is not None


def only_task_of(tx: Transaction, job_id: str, provider_task_id: str) -> None:
    """Raise `LedgerConflict` when a provider task is, or once was, another job's."""
    owner = owner_of_task(tx, provider_task_id)
    if owner not in (None, job_id):
        raise LedgerConflict("a provider task of two jobs", None, ValueError(f"job {owner} has it"))


def strays(tx: Transaction, limit: int) -> list[Stray]:
    """Strays that are due to be asked about, the longest due first."""
    columns = attempts.c["id", "job_id", "provider_task_id", "key_alias", "begun_at"]
    due = sa.select(*columns).where(attempts.c.settle_at <= tx.now, attempts.c.provider_task_id.is_not(None))
    return [
        Stray(row.id, row.job_id, row.provider_task_id, row.key_alias, (tx.now - row.begun_at).total_seconds())
        for row in tx.execute(due.order_by(attempts.c.settle_at).limit(limit))
    ]


def settled(tx: Transaction, attempt_id: str) -> None:
    """It is known what a stray cost: an estimate is not needed any more."""
    tx.execute(_SET, {"attempt": attempt_id, "settle_at": None})
    take_back_estimate(tx, attempt_id)


def take_back_estimate(tx: Transaction, attempt_id: str) -> None:
    """Remove what an attempt was written off for while its task was not known; without effect when it was not."""
    for row in tx.execute(_TAKE_BACK, {"task": unknown_task(attempt_id)}).all():
        spending.add(tx, row.tenant, row.charged_at, -row.amount_usd)


def correct_estimate(tx: Transaction, provider_task_id: str, amount_usd: Decimal, usage: Mapping[str, Any]) -> None:
    """Put what the provider says a task cost in the place of an estimate. What was reported once is never changed."""
    estimate = (charges.c.provider_task_id == provider_task_id) & charges.c.estimated
    columns = charges.c["tenant", "charged_at", "amount_usd"]
    before = tx.execute(sa.select(*columns).where(estimate).with_for_update()).first()
    if before is None:
        return
    exact_usd = amount_usd.quantize(MICRO_USD)
    values = {"amount_usd": exact_usd, "estimated": False, "usage": dict(usage)}
    tx.execute(sa.update(charges).where(estimate).values(values))
    spending.add(tx, before.tenant, before.charged_at, exact_usd - before.amount_usd)


_UNKNOWN_TASK: Final = "attempt:"


def unknown_task(attempt_id: str) -> str:
    """Under which a charge stands for a create that may have been accepted, when its task's id is not known."""
    return f"{_UNKNOWN_TASK}{attempt_id}"


UNKNOWN_KEY: Final = "(unknown)"
"""In the place of a key, in a charge for a create of which a restored ledger does not know it. No alias is so."""


def charge(
    tx: Transaction,
    job: Job,
    price: Price,
    *,
    discount: str | None,
    usage: Mapping[str, Any],
    metadata: Mapping[str, Any],
) -> bool:
    """Charge a job for its provider task: once, however often it is called. True when this call wrote it."""
    row = {
        "provider_task_id": job.provider_task_id,
        "job_id": job.id,
        "tenant": job.tenant,
        "model": job.model,
        "resolution": job.resolution,
        "duration_s": job.duration_s,
        "key_alias": job.key_alias,
        "amount_usd": price.amount_usd,
        "estimated": price.estimated,
        "discount": discount,
        "usage": dict(usage),
        "metadata": dict(metadata),
        "charged_at": tx.now,
    }
    # What came back, not the count of rows: drivers do not agree on the count of an insert that did nothing.
    written = tx.execute(tx.insert_new(charges).returning(charges.c.provider_task_id), row)
    if written.first() is None:
        return False
    spending.add(tx, job.tenant, tx.now, price.amount_usd)
    tx.charged.append(Charged(job.model, job.key_alias or "", price))
    return True
