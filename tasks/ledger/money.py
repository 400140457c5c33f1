"""Attempts and charges: the write-ahead of every create, and one charge a provider task."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from tasks.domain.job import Job
from tasks.domain.prices import Price

from .database import Transaction
from .tables import attempts, charges


def begin_attempt(tx: Transaction, job: Job) -> str:
    """Commit-to-be of one create call, before it is made; gives the attempt's id."""
    number = sa.select(sa.func.count() + 1).select_from(attempts).where(attempts.c.job_id == job.id).scalar_subquery()
    attempt_id = str(uuid.uuid4())
    row = {"id": attempt_id, "job_id": job.id, "number": number, "key_alias": job.key_alias, "begun_at": tx.now}
    tx.execute(sa.insert(attempts).values(row))
    return attempt_id


def end_attempt(
    tx: Transaction,
    attempt_id: str,
    outcome: str,
    *,
    reason: str | None = None,
    http_status: int | None = None,
    provider_task_id: str | None = None,
) -> None:
    """Write what became of an attempt: its outcome and the evidence."""
    tx.execute(
        sa.update(attempts)
        .where(attempts.c.id == attempt_id)
        .values(
            outcome=outcome,
            reason=reason,
            http_status=http_status,
            provider_task_id=provider_task_id,
            ended_at=tx.now,
        )
    )


def open_attempt(tx: Transaction, job_id: str) -> str | None:
    """The id of the job's latest attempt whose outcome was never written."""
    latest = sa.select(attempts.c.id).where(attempts.c.job_id == job_id, attempts.c.outcome.is_(None))
    return tx.execute(latest.order_by(attempts.c.number.desc()).limit(1)).scalar()


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
    written = tx.execute(tx.insert_new(charges).values(row).returning(charges.c.provider_task_id))
    return written.first() is not None
