"""Who is at work on a job, and for how long it is left alone: claims while the work goes on, and leases on what has to
follow a change. Refuses to change a state: `tasks.ledger.jobs` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from schemas.jobs import State
from tasks.domain.job import Job

from .database import Transaction
from .jobs import COLUMNS, SET, UNMOVED, as_claimed, as_read, job_of, jobs_of
from .tables import jobs

# A claim that runs out was never given back: whoever had it died, or slept too long.
_DEATHS: Final = sa.case((jobs.c.claimed, jobs.c.deaths + 1), else_=jobs.c.deaths)

# The statements of a job's everyday way, made once (`tasks.ledger.jobs` says why).
_this: Final = sa.bindparam
_CLAIM: Final = (
    sa.update(jobs)
    .where(
        jobs.c.id == _this("this_id"),
        jobs.c.state == _this("this_state"),
        sa.not_(jobs.c.claimed) | (jobs.c.lease_until <= _this("now")),
        jobs.c.not_before.is_(None) | (jobs.c.not_before <= _this("now")),
    )
    .values(claimed=True, tries=jobs.c.tries + 1, deaths=_DEATHS, lease_until=_this("until"))
    .returning(*COLUMNS)
)
_MY_CLAIM: Final = sa.update(jobs).where(UNMOVED, jobs.c.tries == _this("this_tries"), jobs.c.claimed)


def claim(tx: Transaction, job_id: str, state: State, lease_s: float) -> Job | None:
    """Take a job in a leased state for work, counting the try before it happens.

    `None` when it is not in that state, not to be tried yet, or when somebody is at work whose lease has not run out.
    """
    until = tx.now + timedelta(seconds=lease_s)
    return job_of(tx.execute(_CLAIM, {"this_id": job_id, "this_state": state, "now": tx.now, "until": until}))


def extend(tx: Transaction, job: Job, lease_s: float) -> bool:
    """Lengthen the lease of a claimed job that one is still at work on. False: it has moved on, or was claimed anew."""
    until = tx.now + timedelta(seconds=lease_s)
    return tx.execute(_MY_CLAIM, {**as_claimed(job), "lease_until": until}).rowcount == 1


def release(tx: Transaction, job: Job, after_s: float, *, counted: bool = True) -> None:
    """Give a claimed job back: nobody is to try before `after_s` seconds have passed; then the sweep has it tried.

    Without effect for one that was given back, or has moved on. Not `counted`: the try says nothing about the job.
    """
    then = tx.now + timedelta(seconds=after_s)
    tries = job.tries if counted else job.tries - 1
    values = {"claimed": False, "tries": tries, "not_before": then, "lease_until": then}
    tx.execute(_MY_CLAIM, {**as_claimed(job), **values})


def lapsed(tx: Transaction, limit: int) -> list[Job]:
    """Jobs whose lease has run out, the longest first: what had to follow may not have followed."""
    overdue = sa.select(*COLUMNS).where(jobs.c.lease_until <= tx.now)
    return jobs_of(tx.execute(overdue.order_by(jobs.c.lease_until).limit(limit)))


def renew_lapsed(tx: Transaction, job: Job, lease_s: float) -> bool:
    """Take a lapsed job for handing out again; false when another sweep was first."""
    same = (jobs.c.id == job.id) & (jobs.c.version == job.version) & (jobs.c.lease_until <= tx.now)
    values = {"claimed": False, "deaths": _DEATHS, "lease_until": tx.now + timedelta(seconds=lease_s)}
    return tx.execute(sa.update(jobs).where(same).values(values)).rowcount == 1


def confirm(tx: Transaction, confirmed: Sequence[Job], again_s: Mapping[State, float]) -> None:
    """What had to follow these jobs' changes has followed: the sweep forgets them, or looks `again_s` seconds later."""
    for job in sorted(confirmed, key=lambda each: each.id):
        after_s = again_s.get(job.state)
        until = None if after_s is None else tx.now + timedelta(seconds=after_s)
        tx.execute(SET, {**as_read(job), "lease_until": until})


def not_handed_over(tx: Transaction, unsent: Sequence[Job]) -> None:
    """Let the leases of these jobs run out, whose messages could not be sent: the sweep sees to them next."""
    for job in sorted(unsent, key=lambda each: each.id):
        tx.execute(SET, {**as_read(job), "lease_until": tx.now})


def end_handovers(tx: Transaction) -> None:
    """Let the leases of all jobs run out for which only a message was on its way: the messages are known to be gone."""
    on_its_way = jobs.c.state.in_([State.ADMITTED, State.DOWNLOADING, State.RECORDING]) & sa.not_(jobs.c.claimed)
    due = jobs.c.not_before.is_(None) | (jobs.c.not_before <= tx.now)
    found = sa.select(jobs.c.id).where(on_its_way, due, jobs.c.lease_until > tx.now)
    # By id, as everywhere where a transaction changes several jobs: two of them can't wait for each other.
    in_order = found.order_by(jobs.c.id).with_for_update()
    tx.execute(sa.update(jobs).where(jobs.c.id.in_(in_order)).values(lease_until=tx.now))
