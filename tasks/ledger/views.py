"""Builds the live view of jobs from their rows alone, so that a wiped Redis can be filled again."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import sqlalchemy as sa

from schemas.jobs import JobEvent, JobView, State
from tasks.domain.transitions import OPEN, Event

from .database import Transaction
from .deliverables import outputs_of
from .tables import charges, jobs, timeline

# A job that goes back and forth in a long outage must not make its view grow without end.
_EVENTS_SHOWN: Final = 50
_NOTHING_STORED: Final = OPEN - {State.RECORDING}
_NOTHING_CHARGED: Final = {Event.ACCEPT, Event.ADMIT, Event.BEGIN, Event.ACCEPTED, Event.COMPLETED, Event.STORED}
"""A job to which nothing else has happened was not charged: its task's end does that, or what a person decides."""

# Made once (`tasks.ledger.jobs` says why).
_ids: Final[sa.BindParameter[str]] = sa.bindparam("ids", expanding=True)
_SHOWN: Final = ("id", "state", "tenant", "model", "error_code", "error_message", "error_stage", "request", "turn_at")
_JOBS: Final = sa.select(*jobs.c[_SHOWN]).where(jobs.c.id.in_(_ids))
_MOMENTS: Final = (
    sa.select(*timeline.c["job_id", "seq", "event", "state", "at"])
    .where(timeline.c.job_id.in_(_ids))
    .order_by(timeline.c.job_id, timeline.c.seq)
)
_CHARGES: Final = sa.select(*charges.c["job_id", "amount_usd", "estimated"]).where(charges.c.job_id.in_(_ids))


def views_of(tx: Transaction, job_ids: Sequence[str]) -> list[JobView]:
    """The views of those of these jobs that exist."""
    asked = {"ids": list(job_ids)}
    rows = tx.execute(_JOBS, asked).all()
    events: dict[str, list[JobEvent]] = {}
    for moment in tx.execute(_MOMENTS, asked):
        event = JobEvent(moment.seq, moment.event, State(moment.state), moment.at)
        events.setdefault(moment.job_id, []).append(event)
    stored = outputs_of(tx, [row.id for row in rows if row.state not in _NOTHING_STORED])
    charged: dict[str, list[Decimal]] = {}
    estimated: set[str] = set()
    chargeable = [job_id for job_id, each in events.items() if any(one.event not in _NOTHING_CHARGED for one in each)]
    for charge in tx.execute(_CHARGES, {"ids": chargeable}) if chargeable else ():
        charged.setdefault(charge.job_id, []).append(charge.amount_usd)
        if charge.estimated:
            estimated.add(charge.job_id)
    return [
        JobView(
            job_id=row.id,
            state=State(row.state),
            events=_shown(events.get(row.id, [])),
            tenant=row.tenant,
            model=row.model,
            outputs=tuple(stored.get(row.id, ())),
            charged_usd=sum(charged[row.id], Decimal(0)) if row.id in charged else None,
            charge_estimated=row.id in estimated,
            error_code=row.error_code,
            error_message=row.error_message,
            error_stage=row.error_stage,
            metadata=row.request.get("metadata") or {},
            turn_at=row.turn_at if row.state == State.QUEUED else None,
        )
        for row in rows
    ]


def _shown(events: Sequence[JobEvent]) -> tuple[JobEvent, ...]:
    """The latest, and of the earlier ones those that may have cost twice: that has to be said for good."""
    earlier, latest = events[:-_EVENTS_SHOWN], events[-_EVENTS_SHOWN:]
    return (*(event for event in earlier if event.event == Event.ANEW), *latest)
