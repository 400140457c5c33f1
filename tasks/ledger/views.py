"""Builds the live view of jobs from their rows alone, so that a wiped Redis can be filled again."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import sqlalchemy as sa

from schemas.jobs import JobEvent, JobView, State

from .database import Transaction
from .deliverables import outputs_of
from .tables import charges, jobs, timeline

# A job that goes back and forth in a long outage must not make its view grow without end.
_EVENTS_SHOWN = 50


def views_of(tx: Transaction, job_ids: Sequence[str]) -> list[JobView]:
    """The views of those of these jobs that exist."""
    events: dict[str, list[JobEvent]] = {}
    moments = sa.select(timeline).where(timeline.c.job_id.in_(job_ids)).order_by(timeline.c.job_id, timeline.c.seq)
    for moment in tx.execute(moments):
        event = JobEvent(moment.seq, moment.event, State(moment.state), moment.at)
        events.setdefault(moment.job_id, []).append(event)
    stored = outputs_of(tx, job_ids)
    charged: dict[str, list[Decimal]] = {}
    estimated: set[str] = set()
    for charge in tx.execute(sa.select(charges).where(charges.c.job_id.in_(job_ids))):
        charged.setdefault(charge.job_id, []).append(charge.amount_usd)
        if charge.estimated:
            estimated.add(charge.job_id)
    return [
        JobView(
            job_id=row.id,
            state=State(row.state),
            events=tuple(events.get(row.id, ())[-_EVENTS_SHOWN:]),
            tenant=row.tenant,
            model=row.model,
            outputs=tuple(stored.get(row.id, ())),
            charged_usd=sum(charged[row.id], Decimal(0)) if row.id in charged else None,
            charge_estimated=row.id in estimated,
            error_code=row.error_code,
            error_message=row.error_message,
            error_stage=row.error_stage,
            metadata=row.request.get("metadata") or {},
        )
        for row in tx.execute(sa.select(jobs).where(jobs.c.id.in_(job_ids)))
    ]
