"""What is not kept for good: jobs that ended long ago, first their files, later their rows. Refuses to lose a charge.

What is to be removed from the store is written down first, and forgotten when it is gone: whoever removes it may die at
any moment. Nothing is given up of a job that somebody still has something to do for: see `_DONE_WITH`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from schemas.jobs import TERMINAL
from tasks.domain.job import Job

from .database import Transaction
from .tables import IS_KEPT, attempts, charges, inputs, jobs, outputs, removals, timeline, webhooks

# As figures, not as EXISTS: a database may turn that into a join, and read all webhooks there are.
_TO_DELIVER: Final = (
    sa.select(sa.func.count())
    .select_from(webhooks)
    .where(webhooks.c.job_id == jobs.c.id, webhooks.c.due_at.is_not(None))
    .scalar_subquery()
)
_TO_SETTLE: Final = (
    sa.select(sa.func.count())
    .select_from(attempts)
    .where(attempts.c.job_id == jobs.c.id, attempts.c.settle_at.is_not(None))
    .scalar_subquery()
)
_TO_REMOVE: Final = (
    sa.select(sa.func.count()).select_from(removals).where(removals.c.job_id == jobs.c.id).scalar_subquery()
)
# Nearly all jobs have no lease: SQLite would look for that in an index, and go through all of them.
_LEASED: Final = sa.case((jobs.c.lease_until.is_(None), 0), else_=1)
_DONE_WITH: Final = (_LEASED == 0) & (_TO_DELIVER == 0) & (_TO_SETTLE == 0)
"""Of a job that has ended: those who wait were told, its webhooks have arrived or are dead, all its costs are known."""
_OWNED: Final = (inputs, outputs, timeline, attempts, webhooks)
"""Tables whose rows go with their job. Charges are not among them."""
_PICTURE_LEFT_S: Final = 600.0
"""How long a picture stays after the last job that named it was given up. Above the time from a door's look at
`removals` to its commit: a request that was taken in meanwhile names the picture by then."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that ended long ago. `request` holds its prompt, and stays out of the repr."""

    id: str
    tenant: str
    idempotency_key: str | None = None
    request: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Removal:
    """What is to be removed from the store: all outputs of a job, or the input image `picture` (`sha256.ext`)."""

    name: str
    tenant: str | None
    job_id: str | None

    @property
    def picture(self) -> tuple[str, str]:
        """SHA-256 and extension."""
        sha256, _, ext = self.name.partition(".")
        return sha256, ext


@dataclass(frozen=True, slots=True)
class Due:
    """What would be removed now: jobs whose files would go, those files as far as the ledger has them, whole jobs."""

    jobs_without_files: int
    files: int
    size_bytes: int
    jobs: int


def with_files(tx: Transaction, days: float, limit: int) -> list[Ended]:
    """Jobs that ended more than `days` ago and still have their files, the oldest first, for `give_up_files`.

    They are locked; those that somebody else has locked are left out.
    """
    query = sa.select(*jobs.c["id", "tenant", "idempotency_key", "request"]).where(_files_due(tx, days))
    oldest = query.order_by(jobs.c.changed_at, jobs.c.id).limit(limit).with_for_update(skip_locked=True)
    return [Ended(**row) for row in tx.execute(oldest).mappings()]


def give_up_files(tx: Transaction, ended: Sequence[Ended], pictures: Sequence[str]) -> None:
    """Say of these jobs that their files are not kept any more, and have these removed. `pictures`: which they name."""
    if not ended:
        return
    ids = [job.id for job in ended]
    tx.execute(sa.update(jobs).where(jobs.c.id.in_(ids)).values(pruned_at=tx.now))
    tx.execute(sa.delete(inputs).where(inputs.c.job_id.in_(ids)))
    rows = [
        {"name": _outputs_of(job.tenant, job.id), "tenant": job.tenant, "job_id": job.id, "due_at": tx.now}
        for job in ended
    ]
    later = tx.now + timedelta(seconds=_PICTURE_LEFT_S)
    rows += [{"name": name, "tenant": None, "job_id": None, "due_at": later} for name in sorted(set(pictures))]
    tx.execute(tx.insert_new(removals), rows)


def is_given_up(tx: Transaction, job_id: str) -> bool:
    """Whether the files of a job are not kept any more."""
    found = sa.select(jobs.c.id).where(jobs.c.id == job_id, jobs.c.pruned_at.is_not(None))
    return tx.execute(found).first() is not None


def take_back(tx: Transaction, job: Job, pictures: Sequence[str]) -> bool:
    """Have the files of a job kept again that somebody wants after all, to be moved in this transaction.

    False when they are being removed at this moment. Those that are gone already do not come back.
    """
    if not keep_after_all(tx, [_outputs_of(job.tenant, job.id), *pictures]):
        return False
    tx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(pruned_at=None))
    if pictures:
        tx.execute(tx.insert_new(inputs), [{"name": name, "job_id": job.id} for name in sorted(set(pictures))])
    return True


def are_going(tx: Transaction, names: Sequence[str]) -> bool:
    """Whether any of these pictures, or jobs' outputs (`tenant/job`), is written down to be removed."""
    found = sa.select(removals.c.name).where(removals.c.name.in_(names)).limit(1)
    return tx.execute(found).first() is not None


def keep_after_all(tx: Transaction, names: Sequence[str]) -> bool:
    """Have none of these removed; false when somebody is at it, or may be: it is not known then what is left."""
    nobody = removals.c.claimed_until.is_(None) | removals.c.failed
    tx.execute(sa.delete(removals).where(removals.c.name.in_(names), nobody))
    return not are_going(tx, names)


def claim_removals(tx: Transaction, limit: int, lease_s: float) -> list[Removal]:
    """Take what is to be removed now; none while others are at it, or failed a moment ago.

    What somebody needs after all is forgotten instead.
    """
    at_it = sa.select(removals.c.name).where(removals.c.claimed_until > tx.now).limit(1)
    if tx.execute(at_it).first() is not None:
        return []
    ready = sa.select(removals.c.name).where(removals.c.due_at <= tx.now).order_by(removals.c.due_at, removals.c.name)
    names = list(tx.execute(ready.limit(limit).with_for_update(skip_locked=True)).scalars())
    if not names:
        return []
    mine = removals.c.name.in_(names)
    named = sa.select(inputs.c.job_id).where(inputs.c.name == removals.c.name).limit(1).scalar_subquery()
    kept = sa.select(jobs.c.id).where(jobs.c.id == removals.c.job_id, jobs.c.pruned_at.is_(None)).scalar_subquery()
    tx.execute(sa.delete(removals).where(mine, named.is_not(None) | kept.is_not(None)))
    values = {"claimed_until": tx.now + timedelta(seconds=lease_s), "failed": False}
    claim = sa.update(removals).where(mine).values(values)
    claimed = tx.execute(claim.returning(removals.c.name, removals.c.tenant, removals.c.job_id))
    return [Removal(**row) for row in claimed.mappings()]


def removed(tx: Transaction, names: Sequence[str]) -> None:
    """These are gone from the store."""
    tx.execute(sa.delete(removals).where(removals.c.name.in_(names)))


def not_removed(tx: Transaction, names: Sequence[str], again_s: float) -> None:
    """These could not be removed: they, and all others, are left alone for `again_s` seconds."""
    values = {"claimed_until": tx.now + timedelta(seconds=again_s), "failed": True}
    tx.execute(sa.update(removals).where(removals.c.name.in_(names)).values(values))


def removals_left(tx: Transaction) -> int:
    """How much is still to be removed from the store: jobs' outputs, and pictures, which wait for a while."""
    left: int = tx.execute(sa.select(sa.func.count()).select_from(removals)).scalar_one()
    return left


def without_files(tx: Transaction, days: float, limit: int, *, lock: bool = False) -> list[Ended]:
    """Jobs that ended more than `days` ago and whose files are gone. With `lock` for `remove_jobs`."""
    found: list[Ended] = []
    for state in sorted(TERMINAL):  # each is an index's own order, in which no more is read than is needed
        query = sa.select(*jobs.c["id", "tenant", "idempotency_key"]).where(jobs.c.state == state, _rows_due(tx, days))
        oldest = query.order_by(jobs.c.changed_at, jobs.c.id).limit(limit - len(found))
        if lock:
            oldest = oldest.with_for_update(skip_locked=True)
        found += [Ended(**row) for row in tx.execute(oldest).mappings()]
        if len(found) == limit:
            break
    return found


def remove_jobs(tx: Transaction, ended: Sequence[Ended]) -> None:
    """Remove these jobs and all that is theirs. Their charges stay, without a job: its id may be another's one day."""
    if not ended:
        return
    ids = [job.id for job in ended]
    paid = sa.update(charges).where(charges.c.job_id.in_(ids))
    tx.execute(paid.values(pruned_job_id=charges.c.job_id, job_id=None))
    for table in _OWNED:
        tx.execute(sa.delete(table).where(table.c.job_id.in_(ids)))
    tx.execute(sa.delete(jobs).where(jobs.c.id.in_(ids)))


def due(tx: Transaction, outputs_days: float, jobs_days: float) -> Due:
    """What would be removed now, by these numbers of days; 0: nothing. Reads all of it: for people."""
    files_due = _files_due(tx, outputs_days) if outputs_days else sa.false()
    count = sa.func.count()
    figures = sa.select(count.label("files"), sa.func.sum(outputs.c.size_bytes).label("size_bytes"))
    stored = tx.execute(figures.join_from(outputs, jobs).where(files_due)).mappings().one()
    given_up = tx.execute(sa.select(count).select_from(jobs).where(files_due)).scalar_one()
    whole = 0
    if jobs_days:
        # Those whose files would go first go as well.
        ended = jobs.c.state.in_(sorted(TERMINAL)) & (jobs.c.changed_at <= tx.now - timedelta(days=jobs_days))
        whole = tx.execute(sa.select(count).select_from(jobs).where(ended, _DONE_WITH)).scalar_one()
    return Due(given_up, stored["files"], int(stored["size_bytes"] or 0), whole)


def _outputs_of(tenant: str, job_id: str) -> str:
    return f"{tenant}/{job_id}"


def _files_due(tx: Transaction, days: float) -> sa.ColumnElement[bool]:
    return sa.and_(IS_KEPT, jobs.c.changed_at <= tx.now - timedelta(days=days), _DONE_WITH)


def _rows_due(tx: Transaction, days: float) -> sa.ColumnElement[bool]:
    ended = jobs.c.changed_at <= tx.now - timedelta(days=days)
    return sa.and_(ended, jobs.c.pruned_at.is_not(None), _DONE_WITH, _TO_REMOVE == 0)
