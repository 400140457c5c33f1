"""Reads the ledger for people: lists of jobs, one job's whole story, sums of money. Owns no statement that writes.

Nothing given out here holds a prompt, an image or a URL: the columns that do (`request`, `answer`) are not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from schemas.jobs import Output, State
from tasks.domain.transitions import OPEN

from .database import Transaction
from .deliverables import outputs_of
from .tables import attempts, charges, jobs, timeline

ZERO_USD: Final = Decimal("0.00")


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job in a list. `charged_usd` is the sum of its charges, `None` before the first."""

    id: str
    state: State
    tenant: str
    model: str
    resolution: str | None
    duration_s: int | None
    priority: int
    key_alias: str | None
    accepted_at: datetime
    changed_at: datetime
    estimate_usd: Decimal
    charged_usd: Decimal | None
    error_code: str | None


@dataclass(frozen=True, slots=True)
class Moment:
    """One row of a job's timeline; `detail` holds ids and figures."""

    seq: int
    event: str
    state: State
    at: datetime
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One create call; `outcome` is `None` when it was never heard of again."""

    number: int
    key_alias: str
    begun_at: datetime
    ended_at: datetime | None
    outcome: str | None
    http_status: int | None
    reason: str | None
    provider_task_id: str | None


@dataclass(frozen=True, slots=True)
class Charge:
    """What one provider task cost. `estimated`: from the price list, because the provider named no readable price."""

    provider_task_id: str
    key_alias: str
    amount_usd: Decimal
    estimated: bool
    discount: str | None
    charged_at: datetime


@dataclass(frozen=True, slots=True)
class JobReport:
    """One job's whole story."""

    job: JobRow
    provider_task_id: str | None
    deadline_at: datetime | None
    error_message: str | None
    error_stage: str | None
    timeline: tuple[Moment, ...]
    attempts: tuple[Attempt, ...]
    outputs: tuple[Output, ...]
    charges: tuple[Charge, ...]


@dataclass(frozen=True, slots=True)
class CostRow:
    """The charges of one day, model, tenant or key (`name`). `estimated_usd` is the part of `amount_usd` estimated."""

    name: str
    charges: int
    amount_usd: Decimal
    estimated_usd: Decimal


def job_rows(
    tx: Transaction, *, states: frozenset[State] = frozenset(), tenant: str | None = None, limit: int
) -> list[JobRow]:
    """The newest `limit` jobs in these states (empty: in any), of one tenant or of all, newest first."""
    query = _row_query()
    if states:
        query = query.where(jobs.c.state.in_(sorted(states)))
    if tenant is not None:
        query = query.where(jobs.c.tenant == tenant)
    newest_first = query.order_by(jobs.c.accepted_at.desc(), jobs.c.id.desc()).limit(limit)
    return [_row(each) for each in tx.execute(newest_first).mappings()]


def open_ids(tx: Transaction, limit: int) -> list[str]:
    """Ids of the jobs that have not ended, oldest first."""
    query = sa.select(jobs.c.id).where(jobs.c.state.in_(sorted(OPEN)))
    return list(tx.execute(query.order_by(jobs.c.accepted_at, jobs.c.id).limit(limit)).scalars())


def ids_beginning(tx: Transaction, prefix: str, limit: int) -> list[str]:
    """Ids of up to `limit` jobs whose id begins with `prefix`; the job of exactly that id alone, if there is one."""
    exact = tx.execute(sa.select(jobs.c.id).where(jobs.c.id == prefix)).scalar()
    if exact is not None:
        return [exact]
    query = sa.select(jobs.c.id).where(jobs.c.id.startswith(prefix, autoescape=True))
    return list(tx.execute(query.order_by(jobs.c.id).limit(limit)).scalars())


def job_report(tx: Transaction, job_id: str) -> JobReport | None:
    """Everything the ledger knows of a job, or `None`."""
    return next(iter(job_reports(tx, [job_id])), None)


def job_reports(tx: Transaction, job_ids: Sequence[str]) -> list[JobReport]:
    """The same of several jobs, those of them that exist, in no particular order."""
    more = (jobs.c.provider_task_id, jobs.c.deadline_at, jobs.c.error_message, jobs.c.error_stage)
    rows = [dict(row) for row in tx.execute(_row_query().add_columns(*more).where(jobs.c.id.in_(job_ids))).mappings()]
    extra = {row["id"]: {column.name: row.pop(column.name) for column in more} for row in rows}
    moments = _rows_of(tx, timeline, job_ids, "seq", "event", "state", "at", "detail")
    tried = _rows_of(tx, attempts, job_ids, *Attempt.__slots__)
    charged = _rows_of(tx, charges, job_ids, *Charge.__slots__)
    stored = outputs_of(tx, job_ids)
    return [
        JobReport(
            job=_row(row),
            **extra[job_id],
            timeline=tuple(Moment(**{**each, "state": State(each["state"])}) for each in moments.get(job_id, ())),
            attempts=tuple(Attempt(**each) for each in tried.get(job_id, ())),
            outputs=tuple(stored.get(job_id, ())),
            charges=tuple(Charge(**each) for each in charged.get(job_id, ())),
        )
        for row in rows
        for job_id in [row["id"]]
    ]


def charged_usd(tx: Transaction, job_ids: Sequence[str]) -> Decimal:
    """The sum of all charges of these jobs."""
    query = sa.select(sa.func.sum(charges.c.amount_usd)).where(charges.c.job_id.in_(job_ids))
    return tx.execute(query).scalar() or ZERO_USD


def costs(
    tx: Transaction, *, since: datetime | None = None, until: datetime | None = None, tenant: str | None = None
) -> dict[str, list[CostRow]]:
    """Exact sums of charges from `since` (included) until `until` (excluded), of one tenant or of all.

    By `day` (UTC, latest first), `model`, `tenant` and `key` (each dearest first), and one row under `total`.
    """
    conditions = []
    if since is not None:
        conditions.append(charges.c.charged_at >= since)
    if until is not None:
        conditions.append(charges.c.charged_at < until)
    if tenant is not None:
        conditions.append(charges.c.tenant == tenant)
    names: dict[str, sa.ColumnElement[str]] = {
        "day": _day(tx, charges.c.charged_at),
        "model": charges.c.model,
        "tenant": charges.c.tenant,
        "key": charges.c.key_alias,
        "total": sa.literal("total"),
    }
    found = {kind: _sums(tx, name, conditions) for kind, name in names.items()}
    found["day"].sort(key=lambda row: row.name, reverse=True)
    found["total"] = found["total"] or [CostRow("total", 0, ZERO_USD, ZERO_USD)]
    return found


def _sums(tx: Transaction, name: sa.ColumnElement[str], conditions: Sequence[sa.ColumnElement[bool]]) -> list[CostRow]:
    label = name.label("name")
    # Estimated and reported amounts are rows of their own here: a sum over a column keeps the column's exact type.
    figures = (sa.func.count().label("charges"), sa.func.sum(charges.c.amount_usd).label("amount"))
    query = sa.select(label, charges.c.estimated, *figures)
    sums: dict[str, list[tuple[bool, int, Decimal]]] = {}
    # By the label: written out again, its parameters would make it another expression to PostgreSQL.
    for row in tx.execute(query.where(*conditions).group_by("name", charges.c.estimated)):
        sums.setdefault(row.name, []).append((row.estimated, row.charges, row.amount))
    rows = [
        CostRow(
            value,
            sum(count for _, count, _ in parts),
            sum((amount for *_, amount in parts), ZERO_USD),
            sum((amount for estimated, _, amount in parts if estimated), ZERO_USD),
        )
        for value, parts in sums.items()
    ]
    return sorted(rows, key=lambda row: (-row.amount_usd, row.name))


def _day(tx: Transaction, instant: sa.ColumnElement[datetime]) -> sa.ColumnElement[str]:
    if tx.dialect == "postgresql":
        return sa.func.to_char(sa.func.timezone("UTC", instant), "YYYY-MM-DD", type_=sa.String)
    return sa.func.strftime("%Y-%m-%d", instant, type_=sa.String)


def _row_query() -> sa.Select[Any]:
    charged = sa.select(sa.func.sum(charges.c.amount_usd)).where(charges.c.job_id == jobs.c.id).scalar_subquery()
    return sa.select(
        *(charged.label(name) if name == "charged_usd" else jobs.c[name].label(name) for name in JobRow.__slots__)
    )


def _row(values: Mapping[Any, Any]) -> JobRow:
    return JobRow(**{**values, "state": State(values["state"])})


def _rows_of(tx: Transaction, table: sa.Table, job_ids: Sequence[str], *names: str) -> dict[str, list[dict[str, Any]]]:
    """Rows of each of these jobs in a table, in the order of the first named column."""
    query = sa.select(table.c.job_id, *(table.c[name] for name in names)).where(table.c.job_id.in_(job_ids))
    found: dict[str, list[dict[str, Any]]] = {}
    for row in tx.execute(query.order_by(table.c[names[0]])).mappings():
        found.setdefault(row["job_id"], []).append({name: row[name] for name in names})
    return found
