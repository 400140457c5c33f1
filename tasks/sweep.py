"""Lane sweep: finds every job that nobody works on and has somebody look at it; fills a wiped Redis from the ledger."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from schemas.jobs import State
from tasks.context import Context
from tasks.domain.job import Job
from tasks.domain.transitions import OPEN, Event
from tasks.hints import hint_create, hint_finish, hint_record
from tasks.lanes import lane
from tasks.ledger.jobs import clear_lease, in_state, lapsed, move, renew_lapsed
from tasks.ledger.money import end_attempt, open_attempt
from tasks.schedule import timetable_entry

log = structlog.get_logger("reelworks.sweep")


@lane("sweep")
def sweep(ctx: Context) -> float:
    """Look after what was left behind."""
    if not ctx.pulse.timetable.is_whole():
        _refill(ctx)
    with ctx.ledger.read() as tx:
        left = lapsed(tx, ctx.policy.sweep_batch)
    _confirm(ctx, [job for job in left if job.state is State.GENERATING])
    for job in left:
        if job.state is not State.GENERATING:
            _rescue(ctx, job)
    return 0.0 if len(left) == ctx.policy.sweep_batch else ctx.policy.sweep_interval_s


def _confirm(ctx: Context, generating: Sequence[Job]) -> None:
    """Make sure, once, that jobs are on the timetable: whoever was to put them there may not have come so far."""
    if not generating:
        return
    added = ctx.pulse.timetable.schedule([timetable_entry(ctx.policy.poll, job) for job in generating])
    with ctx.ledger.begin() as tx:
        clear_lease(tx, generating)
    if added:
        log.warning("jobs_put_on_timetable", jobs=added)


def _rescue(ctx: Context, job: Job) -> None:
    if job.state is State.CREATING:
        _park(ctx, job)
        return
    with ctx.ledger.begin() as tx:
        mine = renew_lapsed(tx, job, ctx.policy.handover_s)
    if mine:
        hint = {State.ADMITTED: hint_create, State.DOWNLOADING: hint_finish, State.RECORDING: hint_record}[job.state]
        hint(job)
        log.warning("job_rescued", job_id=job.id, state=job.state, tries=job.tries)


def _park(ctx: Context, job: Job) -> None:
    """The worker of a create is gone, or slept too long: whether the provider has a task is not known."""
    with ctx.ledger.begin() as tx:
        parked = move(tx, job.id, Event.UNKNOWN, detail={"outcome": "unknown", "reason": "the worker was lost"})
        attempt_id = open_attempt(tx, job.id)
        if parked is not None and attempt_id is not None:
            end_attempt(tx, attempt_id, "unknown", reason="the worker was lost during the create")
    if parked is not None:
        log.warning("job_uncertain", job_id=job.id, key=job.key_alias)
        ctx.show([job.id])


def _refill(ctx: Context) -> None:
    """Put every generating job back on the timetable and every open job's view back, page by page."""
    after_id, jobs, views = "", 0, 0
    while True:
        with ctx.ledger.read() as tx:
            page = in_state(tx, OPEN, after_id, ctx.policy.sweep_batch)
            ages = {job.id: (tx.now - job.generating_at).total_seconds() for job in page if job.generating_at}
        if not page:
            break
        generating = [job for job in page if job.state is State.GENERATING]
        jobs += ctx.pulse.timetable.schedule(
            [timetable_entry(ctx.policy.poll, job, ages[job.id]) for job in generating]
        )
        ctx.show([job.id for job in page])
        after_id, views = page[-1].id, views + len(page)
    ctx.pulse.timetable.mark_whole()
    log.info("timetable_refilled", scheduled=jobs, views=views)
