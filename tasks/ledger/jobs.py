"""Jobs in the ledger: accepted, read, moved. Each change of state goes through `move_read` and into the timeline.

Who is at work on a job, and when somebody has to see to it, is in `tasks.ledger.leases`.

The statements of a job's everyday way are made once: to put one together costs SQLAlchemy several times what it costs
to run it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from schemas.jobs import State
from tasks.domain.delivering import TOLD
from tasks.domain.job import Job
from tasks.domain.transitions import LEASED, Event, next_state

from .database import Transaction
from .deliveries import owe
from .holding import IS_HELD
from .money import count_doubtful
from .tables import inputs, jobs, timeline

COLUMNS: Final = [jobs.c[f.name].label(f.name) for f in fields(Job)]
"""What `jobs_of` makes jobs of."""

_this: Final = sa.bindparam
UNMOVED: Final = (jobs.c.id == _this("this_id")) & (jobs.c.version == _this("this_version"))
"""Of the job that `as_read` names."""
_GET: Final = sa.select(*COLUMNS).where(jobs.c.id == _this("this_id"))
_GET_MANY: Final = sa.select(*COLUMNS).where(jobs.c.id.in_(_this("ids", expanding=True)))
_LOCK_MANY: Final = _GET_MANY.order_by(jobs.c.id).with_for_update()
_MOVE: Final = sa.update(jobs).where(UNMOVED, jobs.c.state == _this("this_state")).returning(*COLUMNS)
_MOVE_MINE: Final = _MOVE.where(jobs.c.tries == _this("this_tries"), jobs.c.claimed)
_TELL: Final = sa.insert(timeline)
_NAME: Final = sa.insert(inputs)
SET: Final = sa.update(jobs).where(UNMOVED)
"""With the columns to set among its parameters, as those above."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """What accepting a request writes. `request` is its canonical form, with images as references."""

    id: str
    tenant: str
    idempotency_key: str | None
    fingerprint: str
    model: str
    resolution: str | None
    duration_s: int | None
    request: Mapping[str, Any]
    priority: int
    estimate_usd: Decimal
    deadline_s: float | None
    max_cost_usd: Decimal | None = None
    head_start_s: float = 0.0
    """By how much its priority puts it before others of its tenant that came at the same time (negative: behind)."""
    batch_id: str | None = None
    """Of those that were asked for together."""
    door: str | None = None
    """By which it came, where that decides how it is shown to its caller (`tasks.ledger.resources`)."""
    pictures: tuple[str, ...] = ()
    """The input images it needs, as `sha256.ext`."""
    traceparent: str | None = None
    """Of the caller's span, in the form of `schemas.tracing`."""


def accept(tx: Transaction, new: Sequence[NewJob]) -> frozenset[str]:
    """Insert jobs as queued; gives the ids that were new. A job that is already there is left as it is.

    Within a batch each is a microsecond younger than the one before: first come, first served.
    """
    if not new:
        return frozenset()
    statement = tx.insert_new(jobs).returning(jobs.c.id)
    inserted = frozenset(
        tx.execute(statement, [_row(job, tx.now + timedelta(microseconds=n)) for n, job in enumerate(new)]).scalars()
    )
    if inserted:
        tx.execute(
            _TELL,
            [_moment(job_id, 1, Event.ACCEPT, State.QUEUED, tx.now) for job_id in sorted(inserted)],
        )
        named = {(name, job.id) for job in new if job.id in inserted for name in job.pictures}
        if named:
            tx.execute(_NAME, [{"name": name, "job_id": job_id} for name, job_id in sorted(named)])
    return inserted


def _row(job: NewJob, now: datetime) -> dict[str, Any]:
    return {
        "id": job.id,
        "tenant": job.tenant,
        "idempotency_key": job.idempotency_key,
        "fingerprint": job.fingerprint,
        "model": job.model,
        "resolution": job.resolution,
        "duration_s": job.duration_s,
        "request": dict(job.request),
        "priority": job.priority,
        "turn_at": now - timedelta(seconds=job.head_start_s),
        "estimate_usd": job.estimate_usd,
        "max_cost_usd": job.max_cost_usd,
        "state": State.QUEUED,
        "version": 1,
        "tries": 0,
        "claimed": False,
        "accepted_at": now,
        "changed_at": now,
        "batch_id": job.batch_id,
        "door": job.door,
        "traceparent": job.traceparent,
        "deadline_at": None if job.deadline_s is None else now + timedelta(seconds=job.deadline_s),
    }


def _moment(
    job_id: str, seq: int, event: Event, state: State, at: datetime, detail: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return {"job_id": job_id, "seq": seq, "event": event, "state": state, "at": at, "detail": dict(detail or {})}


def fingerprints(tx: Transaction, job_ids: Sequence[str]) -> dict[str, str]:
    """The fingerprint of each of these jobs that exists."""
    found = tx.execute(sa.select(jobs.c.id, jobs.c.fingerprint).where(jobs.c.id.in_(job_ids)))
    return {row.id: row.fingerprint for row in found}


def holder_of(tx: Transaction, tenant: str, idempotency_key: str | None) -> str | None:
    """The id of the job to which a tenant's idempotency key belongs."""
    held = sa.select(jobs.c.id).where(jobs.c.tenant == tenant, jobs.c.idempotency_key == idempotency_key)
    return tx.execute(held).scalar()


def get(tx: Transaction, job_id: str) -> Job | None:
    """The job, or `None`."""
    return job_of(tx.execute(_GET, {"this_id": job_id}))


def get_many(tx: Transaction, job_ids: Sequence[str]) -> list[Job]:
    """Those of these jobs that exist, in no particular order."""
    return jobs_of(tx.execute(_GET_MANY, {"ids": list(job_ids)}))


def lock_many(tx: Transaction, job_ids: Sequence[str]) -> list[Job]:
    """Those of these jobs that exist, by id, to be moved in this transaction: nobody else changes them meanwhile."""
    return jobs_of(tx.execute(_LOCK_MANY, {"ids": list(job_ids)}))


def jobs_of(rows: sa.CursorResult[Any]) -> list[Job]:
    """The jobs in rows of `COLUMNS`."""
    return [Job(**{**row, "state": State(row["state"])}) for row in rows.mappings()]


def job_of(rows: sa.CursorResult[Any]) -> Job | None:
    """The first of them, or `None`."""
    return next(iter(jobs_of(rows)), None)


def as_read(job: Job) -> dict[str, Any]:
    """The parameters that name a job which has not moved since it was read."""
    return {"this_id": job.id, "this_version": job.version}


def as_claimed(job: Job) -> dict[str, Any]:
    """The same of one that nobody has claimed anew either."""
    return {**as_read(job), "this_tries": job.tries}


def move(
    tx: Transaction,
    job_id: str,
    event: Event,
    *,
    lease_s: float | None = None,
    detail: Mapping[str, Any] | None = None,
    **values: Any,
) -> Job | None:
    """Apply an event to a job: a compare-and-set on its row, and a row in its timeline.

    `lease_s` is how long the sweep leaves the job alone: every state but queued has to be followed up. `values` are
    further columns to set; `detail` goes into the timeline (ids and figures, never a prompt or a URL). Gives the job as
    it is now, or `None` when the event means nothing in its state, or another worker was first: a no-op, not an error.
    """
    job = get(tx, job_id)
    return None if job is None else move_read(tx, job, event, lease_s=lease_s, detail=detail, **values)


def move_read(
    tx: Transaction,
    job: Job,
    event: Event,
    *,
    mine: bool = False,
    lease_s: float | None = None,
    detail: Mapping[str, Any] | None = None,
    **values: Any,
) -> Job | None:
    """`move` for a job that was read before, if it has not moved since.

    With `mine` for one that was claimed, if the claim is still the caller's: `None` then says that it has moved on, or
    was claimed anew.
    """
    target = next_state(job.state, event)
    if target is None:
        return None
    if (target in LEASED) != (lease_s is not None):
        raise ValueError(f"{target} {'needs' if target in LEASED else 'takes no'} lease")
    changed = {
        "state": target,
        "version": job.version + 1,
        "tries": 0,
        "deaths": 0,
        "claimed": False,
        "not_before": None,
        "changed_at": tx.now,
        "lease_until": None if lease_s is None else tx.now + timedelta(seconds=lease_s),
        **values,
    }
    this = {**(as_claimed(job) if mine else as_read(job)), "this_state": job.state}
    moved = job_of(tx.execute(_MOVE_MINE if mine else _MOVE, {**this, **changed}))
    if moved is not None:
        tx.execute(_TELL, _moment(job.id, moved.version, event, target, tx.now, detail))
        if target in TOLD and (url := moved.request.get("callback_url")) is not None:
            owe(tx, moved.id, moved.tenant, moved.version, target, url)
    return moved


def refresh_answer(tx: Transaction, job: Job, answer: Mapping[str, Any]) -> None:
    """Replace the outputs of a provider's final answer by fresher ones: their URLs expire."""
    tx.execute(SET, {**as_read(job), "answer": dict(answer)})


def count(tx: Transaction, state: State) -> int:
    """How many jobs are in a state."""
    found: int = tx.execute(sa.select(sa.func.count()).select_from(jobs).where(jobs.c.state == state)).scalar_one()
    return found


def doubtful(tx: Transaction, for_s: float, most_doubtful: int, limit: int) -> list[Job]:
    """Jobs that have been uncertain for `for_s` seconds without a known provider task, and are still wanted.

    Only those with at most `most_doubtful` creates in doubt: others would fill the batch, and for good. None that is
    held since the ledger was restored: how often it was created meanwhile is not known.
    """
    since = tx.now - timedelta(seconds=for_s)
    unknown = (jobs.c.state == State.UNCERTAIN) & jobs.c.provider_task_id.is_(None)
    found = sa.select(*COLUMNS).where(unknown, jobs.c.cancel_requested_at.is_(None), jobs.c.changed_at <= since)
    found = found.where(count_doubtful(jobs.c.id).scalar_subquery() <= most_doubtful, sa.not_(IS_HELD))
    return jobs_of(tx.execute(found.order_by(jobs.c.changed_at).limit(limit)))


def request_cancel(tx: Transaction, job: Job) -> bool:
    """Note that nobody wants the output of a job any more; false when it has moved on meanwhile."""
    return tx.execute(SET, {**as_read(job), "cancel_requested_at": tx.now}).rowcount == 1


def commands_done(tx: Transaction, job_id: str) -> frozenset[str]:
    """The ids of the commands that have moved a job: its timeline says by what each change came."""
    details = tx.execute(sa.select(timeline.c.detail).where(timeline.c.job_id == job_id)).scalars()
    words = (str(detail.get("by", "")).partition(" ") for detail in details)
    return frozenset(command for kind, _, command in words if kind == "command")


def latest_changed(
    tx: Transaction, state: State, before: tuple[datetime, str] | None, limit: int, within_s: float | None = None
) -> list[Job]:
    """One page of the jobs in a state, the latest changed first: those after `before` (instant of the change, id).

    `within_s`: only what has changed in the last so many seconds.
    """
    page = sa.select(*COLUMNS).where(jobs.c.state == state)
    if before is not None:
        page = page.where(sa.tuple_(jobs.c.changed_at, jobs.c.id) < before)
    if within_s is not None:
        page = page.where(jobs.c.changed_at >= tx.now - timedelta(seconds=within_s))
    return jobs_of(tx.execute(page.order_by(jobs.c.changed_at.desc(), jobs.c.id.desc()).limit(limit)))
