"""The reckoning: the ledger, compared with the provider's bill, its witness, and what producers were promised.

Owns what counts as a broken promise. Pure but for `read`, which takes it all from where it stands.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from ops.simulator.bill import read_bill
from schemas.jobs import TERMINAL, State
from tasks.ledger import Ledger, tables
from tests.chaos import provider
from tests.chaos.harm import Done
from tests.chaos.plan import AMBIGUOUS, Order

RESCUE_LIMIT_S: Final = 30.0
_WORK_DUE: Final = frozenset({State.ADMITTED, State.CREATING, State.DOWNLOADING, State.RECORDING})


@dataclass(frozen=True, slots=True)
class Moment:
    event: str
    state: State
    at: datetime
    detail: Mapping[str, Any] = field(default_factory=dict)


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
class Books:
    """Everything that is compared. `orders` and `confirmed_at` by job id, `created` by mark, money by provider task."""

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


@dataclass(frozen=True, slots=True)
class Breach:
    """A promise that was broken, by which job (empty: by none in particular)."""

    promise: str
    job_id: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to."""

    jobs: int
    lost: int
    paid_twice: int
    uncertain: int
    scripted: int
    """How many of the uncertain ones were to be: by script their create was answered ambiguously."""
    rescues: int
    rescue_p99_s: float
    bill_matches: bool
    breaches: tuple[Breach, ...]


def read(ledger: Ledger, simulator: Path, store: Path, submitted: Iterable[tuple[str, Order, datetime]]) -> Books:
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
                Moment(m["event"], State(m["state"]), m["at"], m["detail"])
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
    )


def _grouped(tx: Any, table: sa.Table) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in tx.execute(sa.select(table)).mappings():
        found.setdefault(row["job_id"], []).append(row)
    return found


def reckon(books: Books, harm: Sequence[Done]) -> Result:
    """Compare the books, promise by promise."""
    lost = list(_lost(books))
    twice = list(_paid_twice(books))
    money = list(_money(books))
    doubts = {job_id: row for job_id, row in books.rows.items() if any(m.event == "unknown" for m in row.moments)}
    unexplained = list(_unexplained(books, doubts, harm))
    rescues = sorted(rescue_times_s(books, harm))
    p99_s = rescues[math.ceil(len(rescues) * 0.99) - 1][0] if rescues else 0.0
    slow = [
        Breach("rescue", job_id, f"went on only {waited_s:.1f} s after {what}")
        for waited_s, job_id, what in rescues[-5:]
        if p99_s > RESCUE_LIMIT_S
    ]
    return Result(
        jobs=len(books.orders),
        lost=len(lost),
        paid_twice=len(twice),
        uncertain=len(doubts),
        scripted=sum(_scripted(books, job_id) for job_id in doubts),
        rescues=len(rescues),
        rescue_p99_s=p99_s,
        bill_matches=not money,
        breaches=(*lost, *twice, *money, *unexplained, *slow),
    )


def _lost(books: Books) -> Iterable[Breach]:
    for job_id in books.orders:
        row = books.rows.get(job_id)
        if row is None:
            yield Breach("lost", job_id, "its submission was confirmed, and the ledger does not know it")
        elif row.state not in TERMINAL:
            yield Breach("lost", job_id, f"it never ended: it is {row.state}")
        elif row.state is State.COMPLETED and not row.files:
            yield Breach("lost", job_id, "it is completed without a film")
        else:
            for path, size_bytes in row.files if books.store is not None else ():
                file = books.store / path
                if not file.is_file() or file.stat().st_size != size_bytes:
                    yield Breach("lost", job_id, f"its file {path} is not in the store as it was stored")
    for job_id in books.rows.keys() - books.orders.keys():
        yield Breach("lost", job_id, "nobody submitted this job")


def _paid_twice(books: Books) -> Iterable[Breach]:
    ids = {order.mark: job_id for job_id, order in books.orders.items()}
    for mark, created in books.created.items():
        job_id = ids.get(mark, "")
        row = books.rows.get(job_id)
        asked_for = 1 + (0 if row is None else sum(1 for m in row.moments if m.event == "anew"))
        if len(created) > asked_for:
            yield Breach("paid_twice", job_id, f"{len(created)} creates on the bill, {asked_for} asked for: {created}")
    witnessed = {task for created in books.created.values() for task in created}
    if witnessed != set(books.billed):
        yield Breach("paid_twice", "", f"the bill and its witness differ: {sorted(witnessed ^ set(books.billed))}")


def _money(books: Books) -> Iterable[Breach]:
    job_of = {task: mark for mark, created in books.created.items() for task in created}
    ids = {order.mark: job_id for job_id, order in books.orders.items()}
    for task in sorted(books.billed_usd.keys() | books.charged_usd.keys()):
        billed, charged = books.billed_usd.get(task), books.charged_usd.get(task)
        job_id = ids.get(job_of.get(task, ""), books.owner.get(task, ""))
        if billed != charged:
            yield Breach("bill", job_id, f"provider task {task}: billed {billed}, charged {charged}")
        elif books.owner[task] != job_id:
            yield Breach("bill", job_id, f"provider task {task} is charged to job {books.owner[task]}")


def _unexplained(books: Books, doubts: Mapping[str, Row], harm: Sequence[Done]) -> Iterable[Breach]:
    """Uncertain jobs whose create was neither answered ambiguously by script nor in flight when its worker suffered."""
    for job_id, row in doubts.items():
        scripted = _scripted(books, job_id)
        for attempt in row.attempts:
            if attempt.outcome != "unknown":
                continue
            if attempt.reason is None and attempt.http_status is None:
                yield Breach("uncertain", job_id, "its attempt has no evidence")
            elif not scripted and not any(_hurt(done, attempt) for done in harm):
                yield Breach("uncertain", job_id, f"nobody made its create ambiguous: {attempt.reason}")


def _scripted(books: Books, job_id: str) -> bool:
    return job_id in books.orders and books.orders[job_id].kind in AMBIGUOUS


_CREATE_HARM: Final = ("died create", "freeze create", "kill create")
"""What begins so was done to a worker that creates, whichever of them."""


def _hurt(done: Done, attempt: Attempt) -> bool:
    """Whether harm to the workers that create fell into the attempt; it is noticed up to a second late."""
    if not done.what.startswith(_CREATE_HARM):
        return False
    ended_at = attempt.ended_at or attempt.begun_at
    return done.at <= ended_at + timedelta(seconds=1) and done.until >= attempt.begun_at - timedelta(seconds=1)


def rescue_times_s(books: Books, harm: Sequence[Done]) -> Iterable[tuple[float, str, str]]:
    """How long work that was due when harm was done took to go on: (seconds, job, harm).

    For each piece of harm and each job that was then admitted, creating, downloading or recording, or generating with
    a provider task that had ended, or confirmed to its producer and not yet accepted: from the beginning of the harm
    until the job's next row in the timeline. A submission that a wipe took with it counts from when it was made again.
    """
    begins, ends = sorted((d.at, d.what) for d in harm if not d.what.startswith("died ")), books.ended_at
    for job_id, row in books.rows.items():
        if not row.moments:
            continue
        times = [moment.at for moment in row.moments]
        task_ends = max((end for a in row.attempts if (end := ends.get(a.provider_task_id or ""))), default=None)
        confirmed_at = books.confirmed_at.get(job_id)
        for at, what in begins:
            index = bisect_right(times, at)
            if index == 0:
                if confirmed_at is not None and confirmed_at <= at:
                    yield (times[0] - at).total_seconds(), job_id, what
                continue
            if index == len(times):
                continue
            state = row.moments[index - 1].state
            due = state is State.GENERATING and task_ends is not None and task_ends <= at
            if state in _WORK_DUE or due:
                yield (times[index] - at).total_seconds(), job_id, what


def story(books: Books, job_id: str) -> list[str]:
    """A job's timeline and attempts, a line each, in the order of time."""
    row, order = books.rows.get(job_id), books.orders.get(job_id)
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
