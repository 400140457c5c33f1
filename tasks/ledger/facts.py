"""What became of the jobs of a span of time, page by page: for reports and tables, however many there are.

Owns no statement that writes. Nothing given out here holds a prompt, an image or a URL. Each page is found by an index,
and costs nothing for the jobs of other times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from schemas.jobs import JobEvent, Output, State

from .database import Transaction
from .deliverables import outputs_of
from .reports import ZERO_USD
from .tables import attempts, charges, jobs, outputs, timeline

_PAGE: Final = 500
# Of a job that is not kept any more. Not by what is empty then: SQLite would look for all of these in its index.
_IS_LEFT: Final = charges.c.pruned_job_id.is_not(None)
_COLUMNS: Final = (
    *("id", "tenant", "model", "resolution", "duration_s", "state", "accepted_at", "changed_at"),
    *("error_code", "error_stage"),
)


@dataclass(frozen=True, slots=True)
class SpanOfTime:
    """From `since` (included) until `until` (excluded), of one tenant or, `None`, of all."""

    since: datetime
    until: datetime
    tenant: str | None = None

    def holds(self, at: sa.ColumnElement[datetime]) -> sa.ColumnElement[bool]:
        """Whether an instant is in it."""
        return (at >= self.since) & (at < self.until)


@dataclass(frozen=True, slots=True)
class Charged:
    """What a job was charged: ever, and within the span. `estimated`: some of it by the price list."""

    usd: Decimal = ZERO_USD
    in_span_usd: Decimal = ZERO_USD
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class JobFacts:
    """One job. `outcomes`: of its create calls, `None` for one that was never heard of again.

    `state` is `None` for a job that is not kept any more: then only what its charge says is known.
    """

    id: str
    tenant: str
    model: str
    resolution: str | None
    duration_s: int | None
    state: State | None = None
    accepted_at: datetime | None = None
    changed_at: datetime | None = None
    error_code: str | None = None
    error_stage: str | None = None
    moments: tuple[JobEvent, ...] = ()
    outcomes: tuple[str | None, ...] = ()
    outputs: tuple[Output, ...] = ()
    charged: Charged = Charged()

    @property
    def delivered_s(self) -> float:
        """Seconds of film that were delivered."""
        stored = self.outputs if self.state is State.COMPLETED else ()
        return sum((output.duration_s or 0.0 for output in stored), 0.0)


@dataclass(frozen=True, slots=True)
class Delivered:
    """Films of the jobs that were charged within a span, their seconds, and what was charged for them.

    `lost_usd`: charged for jobs that are not kept any more, of which it is not known what they delivered.
    """

    films: int
    seconds: float
    charged_usd: Decimal
    lost_usd: Decimal


def accepted_in(tx: Transaction, span: SpanOfTime) -> Iterator[list[JobFacts]]:
    """The jobs that were accepted within a span, the oldest first, a page at a time."""
    after: tuple[datetime, str] | None = None
    while True:
        page = sa.select(jobs.c.id, jobs.c.accepted_at).where(span.holds(jobs.c.accepted_at))
        if span.tenant is not None:
            page = page.where(jobs.c.tenant == span.tenant)
        if after is not None:
            # Said twice, because SQLite finds a place in an index by the first, and PostgreSQL by either.
            page = page.where(jobs.c.accepted_at >= after[0], sa.tuple_(jobs.c.accepted_at, jobs.c.id) > after)
        rows = tx.execute(page.order_by(jobs.c.accepted_at, jobs.c.id).limit(_PAGE)).all()
        if rows:
            yield _facts_of(tx, [row.id for row in rows], span)
            after = rows[-1].accepted_at, rows[-1].id
        if len(rows) < _PAGE:
            return


def charged_besides(tx: Transaction, span: SpanOfTime) -> Iterator[list[JobFacts]]:
    """The other jobs that were charged within a span: accepted at other times, or not kept any more."""
    paid = sa.select(charges.c.job_id).join(jobs, jobs.c.id == charges.c.job_id)
    others = paid.where(_charged_in(span), sa.not_(span.holds(jobs.c.accepted_at))).group_by(charges.c.job_id)
    streamed = tx.execute(others.execution_options(yield_per=_PAGE))
    for ids in streamed.scalars().partitions():
        yield _facts_of(tx, ids, span)
    names = charges.c["pruned_job_id", "tenant", "model", "resolution", "duration_s"]
    amount = sa.func.sum(charges.c.amount_usd).label("amount")
    gone = sa.select(*names, charges.c.estimated, amount).where(_charged_in(span), _IS_LEFT)
    grouped = gone.group_by(*names, charges.c.estimated).execution_options(yield_per=_PAGE)
    for rows in tx.execute(grouped).partitions():
        yield [
            JobFacts(
                row.pruned_job_id or "",
                row.tenant,
                row.model,
                row.resolution,
                row.duration_s,
                charged=Charged(row.amount, row.amount, row.estimated),
            )
            for row in rows
        ]


def delivered_in(tx: Transaction, span: SpanOfTime) -> Delivered:
    """What was delivered for the money of a span. Outputs stand only with jobs that have all of theirs."""
    paid = sa.select(charges.c.job_id).where(_charged_in(span)).distinct().subquery()
    films = (
        sa.select(sa.func.count().label("films"), sa.func.sum(outputs.c.duration_s).label("seconds"))
        .select_from(paid)
        .join(outputs, outputs.c.job_id == paid.c.job_id)
    )
    found = tx.execute(films).one()
    amount = sa.func.sum(charges.c.amount_usd).label("amount")
    sums = sa.select(_IS_LEFT.label("lost"), amount).where(_charged_in(span)).group_by(_IS_LEFT)
    amounts = {bool(row.lost): row.amount for row in tx.execute(sums)}
    return Delivered(found.films, found.seconds or 0.0, amounts.get(False, ZERO_USD), amounts.get(True, ZERO_USD))


def _charged_in(span: SpanOfTime) -> sa.ColumnElement[bool]:
    within = span.holds(charges.c.charged_at)
    return within if span.tenant is None else within & (charges.c.tenant == span.tenant)


def _facts_of(tx: Transaction, ids: Sequence[str], span: SpanOfTime) -> list[JobFacts]:
    """These jobs, in this order."""
    rows = {row["id"]: row for row in tx.execute(sa.select(*jobs.c[_COLUMNS]).where(jobs.c.id.in_(ids))).mappings()}
    moments: dict[str, list[JobEvent]] = {}
    columns = timeline.c["job_id", "seq", "event", "state", "at"]
    way = sa.select(*columns).where(timeline.c.job_id.in_(ids)).order_by(timeline.c.job_id, timeline.c.seq)
    for row in tx.execute(way):
        moments.setdefault(row.job_id, []).append(JobEvent(row.seq, row.event, State(row.state), row.at))
    outcomes: dict[str, list[str | None]] = {}
    calls = sa.select(attempts.c.job_id, attempts.c.outcome).where(attempts.c.job_id.in_(ids))
    for row in tx.execute(calls.order_by(attempts.c.job_id, attempts.c.number)):
        outcomes.setdefault(row.job_id, []).append(row.outcome)
    stored, charged = outputs_of(tx, ids), _charged(tx, ids, span)
    return [
        _one(rows[job_id], moments=moments, outcomes=outcomes, stored=stored, charged=charged)
        for job_id in ids
        if job_id in rows
    ]


def _one(
    row: Mapping[Any, Any],
    *,
    moments: Mapping[str, Sequence[JobEvent]],
    outcomes: Mapping[str, Sequence[str | None]],
    stored: Mapping[str, Sequence[Output]],
    charged: Mapping[str, Charged],
) -> JobFacts:
    job_id = row["id"]
    return JobFacts(
        **{**row, "state": State(row["state"])},
        moments=tuple(moments.get(job_id, ())),
        outcomes=tuple(outcomes.get(job_id, ())),
        outputs=tuple(stored.get(job_id, ())),
        charged=charged.get(job_id, Charged()),
    )


def _charged(tx: Transaction, ids: Sequence[str], span: SpanOfTime) -> dict[str, Charged]:
    found: dict[str, Charged] = {}
    columns = charges.c["job_id", "amount_usd", "estimated", "charged_at"]
    for row in tx.execute(sa.select(*columns).where(charges.c.job_id.in_(ids))):
        before = found.get(row.job_id, Charged())
        within_usd = row.amount_usd if span.since <= row.charged_at < span.until else ZERO_USD
        found[row.job_id] = Charged(
            before.usd + row.amount_usd, before.in_span_usd + within_usd, before.estimated or row.estimated
        )
    return found
