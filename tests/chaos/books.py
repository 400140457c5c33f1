"""The books of a run: what the ledger, the bill, its witness and the producers say. Owns no verdict."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ops.simulator.bill import read_bill
from schemas.jobs import State
from tasks.ledger import Ledger, tables
from tests.chaos import provider
from tests.chaos.orders import Order


@dataclass(frozen=True, slots=True)
class Moment:
    event: str
    state: State
    at: datetime
    detail: Mapping[str, Any] = field(default_factory=dict)
    seq: int = 0
    """Its place in the job's timeline."""


@dataclass(frozen=True, slots=True)
class Attempt:
    begun_at: datetime
    ended_at: datetime | None
    outcome: str | None
    http_status: int | None
    reason: str | None
    provider_task_id: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """One job as the ledger has it."""

    state: State
    moments: tuple[Moment, ...]
    attempts: tuple[Attempt, ...]
    files: tuple[tuple[str, int], ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """A signed message that a job's caller took. `event` and `seq`: as it says, of which a task object says neither;
    `status`: the task's, there.
    """

    message_id: str
    event: str | None
    seq: int | None
    status: str | None


@dataclass(frozen=True, slots=True)
class Books:
    """Everything that is compared. Orders and `confirmed_at` by job id, `created` by mark, money by provider task.

    `orders` are those that were confirmed; of those `unanswered` there may be a job or none.
    """

    orders: Mapping[str, Order]
    confirmed_at: Mapping[str, datetime]
    rows: Mapping[str, Row]
    created: Mapping[str, Sequence[str]]
    billed: Sequence[str]
    ended_at: Mapping[str, datetime]
    billed_usd: Mapping[str, Decimal]
    charged_usd: Mapping[str, Decimal]
    owner: Mapping[str, str]
    """The job that a charge stands with, by provider task."""
    store: Path | None = None
    cancelled: Collection[str] = ()
    """Jobs that were cancelled in the course of the harm, whatever their orders say."""
    most_open: int = 0
    """The most tasks that a key ever had open, by the provider's own count."""
    unanswered: Mapping[str, Order] = field(default_factory=dict)
    told: Mapping[str, Sequence[Told]] = field(default_factory=dict)
    """What callers were told, by job."""

    @property
    def asked(self) -> Mapping[str, Order]:
        """Every order, answered or not."""
        return {**self.unanswered, **self.orders}


def read(
    ledger: Ledger,
    simulator: Path,
    store: Path,
    submitted: Iterable[tuple[str, Order, datetime]],
    *,
    unanswered: Mapping[str, Order],
    cancelled: Collection[str],
    most_open: int,
    told: Mapping[str, Sequence[Told]],
) -> Books:
    """The books of a run that has ended."""
    t = tables
    with ledger.read() as tx:
        moments, tries, files = _grouped(tx, t.timeline), _grouped(tx, t.attempts), _grouped(tx, t.outputs)
        found = tx.execute(sa.select(t.jobs.c.id, t.jobs.c.state, t.jobs.c.error_code)).all()
        charges = tx.execute(sa.select(t.charges)).mappings().all()
    rows = {
        job.id: Row(
            State(job.state),
            tuple(
                Moment(m["event"], State(m["state"]), m["at"], m["detail"], m["seq"])
                for m in sorted(moments.get(job.id, ()), key=lambda m: m["seq"])
            ),
            tuple(
                Attempt(*(a[name] for name in Attempt.__slots__))
                for a in sorted(tries.get(job.id, ()), key=lambda a: a["number"])
            ),
            tuple((f["path"], f["size_bytes"]) for f in files.get(job.id, ())),
            job.error_code,
        )
        for job in found
    }
    bill = read_bill(simulator / "bill.jsonl")
    known = list(submitted)
    return Books(
        orders={job_id: order for job_id, order, _ in known},
        confirmed_at={job_id: at for job_id, _, at in known},
        rows=rows,
        created=provider.witnessed(simulator),
        billed=[create.task for create in bill.creates],
        ended_at={task: datetime.fromtimestamp(at, UTC) for task, at in provider.ended_at_s(simulator).items()},
        billed_usd=bill.usd_by_task,
        charged_usd={charge["provider_task_id"]: charge["amount_usd"] for charge in charges},
        owner={charge["provider_task_id"]: charge["job_id"] for charge in charges},
        store=store,
        cancelled=cancelled,
        most_open=most_open,
        unanswered=unanswered,
        told=told,
    )


def _grouped(tx: Any, table: sa.Table) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in tx.execute(sa.select(table)).mappings():
        found.setdefault(row["job_id"], []).append(row)
    return found


def story(books: Books, job_id: str) -> list[str]:
    """A job's timeline and attempts, a line each, in the order of time."""
    row, order = books.rows.get(job_id), books.asked.get(job_id)
    lines = [(books.confirmed_at[job_id], "confirmed to its producer")] if job_id in books.confirmed_at else []
    moments, tries = (row.moments, row.attempts) if row else ((), ())
    lines += [(m.at, f"{m.event} -> {m.state} {dict(m.detail) or ''}") for m in moments]
    lines += [(a.begun_at, "the attempt begins") for a in tries]
    lines += [
        (a.ended_at, f"attempt: {a.outcome} {a.http_status or ''} {a.reason or ''} {a.provider_task_id or ''}")
        for a in tries
        if a.ended_at is not None
    ]
    kind = f"{order.mark} {order.kind}, on the bill: {list(books.created.get(order.mark, ()))}" if order else ""
    return [kind, *(f"{at:%H:%M:%S.%f} {text}" for at, text in sorted(lines, key=lambda line: line[0]))]
