"""Lane sweep: finds every job that nobody works on and has somebody look at it; fills a wiped Redis from the ledger;
removes what is not kept any more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog

from schemas.jobs import TERMINAL, State
from tasks.context import Context
from tasks.domain.job import Job
from tasks.domain.transitions import OPEN, Event
from tasks.failpoints import failpoint
from tasks.hints import CREATE_QUEUE, FINISH_QUEUE, RECORD_QUEUE, hint_create, hint_finish, hint_record
from tasks.lanes import lane
from tasks.ledger.jobs import doubtful, latest_changed, move
from tasks.ledger.leases import confirm, end_handovers, lapsed, renew_lapsed
from tasks.ledger.money import doubtful_attempts, end_attempt, open_attempt
from tasks.ledger.provider_keys import ended_pauses, open_again
from tasks.ledger.traces import take_untraced
from tasks.ledger.views import views_of
from tasks.operating import NotPossible, create_anew
from tasks.pruning import prune
from tasks.schedule import seed, timetable_entry
from tasks.settling import settle_strays
from tasks.tracing import give_out

log = structlog.get_logger("reelworks.sweep")

# Nobody works on these: they wait for the provider, for an operator, or for nothing any more.
_AT_REST: Final = frozenset({State.GENERATING, State.UNCERTAIN}) | TERMINAL

_LONGEST_HANDOVER_S: Final = 600.0
_ASKED_AFTER_S: Final = 86_400.0
"""How long after its end a job is still asked for."""
_SHOWN_AGAIN: Final = (*sorted(OPEN), *sorted(TERMINAL))
# Nobody writes to a part for so long: whoever began it is gone.
_PART_LEFT_S: Final = 3600.0


@lane("sweep")
def sweep(ctx: Context) -> float:
    """Look after what was left behind."""
    if not ctx.pulse.timetable.is_whole():
        _refill(ctx)
    with ctx.ledger.read() as tx:
        left = lapsed(tx, ctx.policy.sweep_batch)
        now = tx.now
        pauses_are_over = bool(ended_pauses(tx))
    ctx.store.sweep_parts(_PART_LEFT_S, now)
    _confirm(ctx, [job for job in left if job.state in _AT_REST], now)
    _rescue(ctx, [job for job in left if job.state not in _AT_REST])
    _resolve(ctx)
    if pauses_are_over:
        with ctx.ledger.begin("operate") as tx:  # what a person has said comes to its end
            open_again(tx)
    settle_strays(ctx)
    more = _show_again(ctx)
    more = prune(ctx, ctx.policy.outputs_days, ctx.policy.jobs_days).more or more
    return 0.0 if more or len(left) == ctx.policy.sweep_batch else ctx.policy.sweep_interval_s


def _confirm(ctx: Context, settled: Sequence[Job], now: datetime) -> None:
    """Make sure that these jobs are on the timetable, or known to have ended.

    Whoever moved them was to see to it and may not have come so far. When Redis can't be reached it is tried again. A
    Redis that came back without its last second may have lost a place on the timetable, so generating jobs are looked
    after again and again.
    """
    if not settled:
        return
    generating = [timetable_entry(ctx, job, now) for job in settled if job.state is State.GENERATING]
    added = ctx.pulse.timetable.schedule(generating)
    with ctx.ledger.read() as tx:
        views = views_of(tx, [job.id for job in settled])
    failpoint("confirm.before_publish")
    ctx.pulse.views.publish(views)
    failpoint("confirm.after_publish")
    ctx.tell(views)  # a failure that a command or a gateway brought about was told to nobody
    with ctx.ledger.begin("sweep.confirm") as tx:
        confirm(tx, settled, {State.GENERATING: ctx.policy.confirm_s})
        ended = [] if ctx.traces is None else take_untraced(tx, [job.id for job in settled if job.state in TERMINAL])
    give_out(ctx, ended)
    if added:
        log.warning("jobs_put_on_timetable", jobs=added)


def _rescue(ctx: Context, jobs: Sequence[Job]) -> None:
    """Hand out again what nobody came to work on: its message, or whoever had it, is gone."""
    for job in jobs:
        if job.state is State.CREATING:
            _park(ctx, job)
    stranded = [job for job in jobs if job.state is not State.CREATING]
    crowded = {queue: ctx.pulse.backlog.waiting(queue) > 0 for queue in {_QUEUE[job.state] for job in stranded}}
    for job in stranded:
        with ctx.ledger.begin("sweep.rescue") as tx:
            lease_s = ctx.policy.handover_s
            if crowded[_QUEUE[job.state]]:
                # Its message may simply be waiting in a long queue: the longer the job has waited, the later the next
                # one, or the queue would grow by its own messages.
                waited_s = (tx.now - job.changed_at).total_seconds()
                lease_s = max(lease_s, min(waited_s, _LONGEST_HANDOVER_S))
            mine = renew_lapsed(tx, job, lease_s)
        if mine:
            _HINT[job.state]([job])
            log.warning("job_rescued", job_id=job.id, state=job.state, tries=job.tries, deaths=job.deaths)


_HINT: Final = {State.ADMITTED: hint_create, State.DOWNLOADING: hint_finish, State.RECORDING: hint_record}
_QUEUE: Final = {State.ADMITTED: CREATE_QUEUE, State.DOWNLOADING: FINISH_QUEUE, State.RECORDING: RECORD_QUEUE}


def _park(ctx: Context, job: Job) -> None:
    """The worker of a create is gone, or slept too long: whether the provider has a task is not known."""
    with ctx.ledger.begin("sweep.park") as tx:
        parked = move(
            tx,
            job.id,
            Event.UNKNOWN,
            lease_s=ctx.policy.handover_s,
            detail={"outcome": "unknown", "reason": "the worker was lost"},
        )
        attempt_id = open_attempt(tx, job.id)
        if parked is not None and attempt_id is not None:
            end_attempt(tx, attempt_id, "unknown", reason="the worker was lost during the create")
    if parked is not None:
        log.warning("job_uncertain", job_id=job.id, key=job.key_alias)
        ctx.show([job.id])


def _resolve(ctx: Context) -> None:
    """Create anew what has been uncertain for long enough, where somebody chose that over waiting for a person."""
    policy = ctx.policy.uncertain
    if policy.retry_after_s is None:
        return
    with ctx.ledger.read() as tx:
        found = [
            job
            for job in doubtful(tx, policy.retry_after_s, policy.max_extra, ctx.policy.sweep_batch)
            if policy.creates_anew(
                uncertain_s=(tx.now - job.changed_at).total_seconds(), doubtful=doubtful_attempts(tx, job.id)
            )
        ]
    for job in found:
        try:
            create_anew(ctx, job.id, by="policy")
        except NotPossible:  # it has moved on, or is not wanted any more
            continue


def _refill(ctx: Context) -> None:
    """Put every generating job back on the timetable, and let the leases of lost messages end. The views come later:
    there may be a day's worth of them, and no job waits for one."""
    token = ctx.pulse.timetable.begin_refill()
    with ctx.ledger.begin("sweep.refill") as tx:
        end_handovers(tx)  # their messages went with what was in Redis
    after, added = None, 0
    while True:
        with ctx.ledger.read() as tx:
            page = latest_changed(tx, State.GENERATING, after, ctx.policy.sweep_batch)
            now = tx.now
        if not page:
            break
        added += ctx.pulse.timetable.schedule([timetable_entry(ctx, job, now) for job in page])
        after = page[-1].changed_at, page[-1].id
    whole = ctx.pulse.timetable.end_refill(token)
    log.info("timetable_refilled", scheduled=added, whole=whole)
    seed(ctx)


def _show_again(ctx: Context) -> bool:
    """Publish a batch of the views again that somebody may wait for and a wipe took; true while there may be more.

    State by state, in each the latest changed first. What changes meanwhile is shown by whoever changes it.
    """
    refill = ctx.pulse.views.refill()
    if refill is None:
        return False
    first, after = _parse_place(refill.place)
    page: list[Job] = []
    with ctx.ledger.read() as tx:
        for state in _SHOWN_AGAIN[_SHOWN_AGAIN.index(first) :]:
            within_s = _ASKED_AFTER_S if state in TERMINAL else None
            page += latest_changed(tx, state, after, ctx.policy.sweep_batch - len(page), within_s)
            if len(page) == ctx.policy.sweep_batch:
                break
            after = None
        views = views_of(tx, [job.id for job in page])
    ctx.pulse.views.publish(views)
    more = len(page) == ctx.policy.sweep_batch
    advanced = ctx.pulse.views.advance_refill(refill, _place(page[-1]) if more else None)
    if advanced and not more:
        log.info("views_refilled")
    return more


def _place(job: Job) -> str:
    return f"{job.state} {job.changed_at.isoformat()} {job.id}"


def _parse_place(place: str) -> tuple[State, tuple[datetime, str] | None]:
    if not place:
        return _SHOWN_AGAIN[0], None
    state, changed_at, job_id = place.split(" ", 2)
    return State(state), (datetime.fromisoformat(changed_at), job_id)
