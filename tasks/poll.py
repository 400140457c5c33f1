"""Lane poll: claims what is due, asks the provider for each, and sets each one's next look.

While a task is in progress nothing is written to the ledger; only the provider's final word is.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import structlog

from schemas.jobs import State
from tasks.context import Context
from tasks.domain.answers import Failed, LookAgain, PollAnswer
from tasks.domain.job import Job
from tasks.domain.looking import Decision, Fail, FinalAnswer, Finish, PollAgain, decide
from tasks.domain.prices import price_of
from tasks.domain.transitions import Event
from tasks.hints import hint_finish
from tasks.lanes import lane
from tasks.ledger.database import Transaction
from tasks.ledger.jobs import get_many, move
from tasks.ledger.money import charge
from tasks.pulse.timetable import Due, NextLook
from tasks.schedule import timetable_entry

log = structlog.get_logger("reelworks.poll")


@lane("poll")
def poll(ctx: Context) -> float:
    """Look at the provider tasks that are due: as many as can be asked at once, so that no claim waits for its turn."""
    due = ctx.pulse.timetable.claim_due(ctx.policy.poll_lease_s, ctx.policy.poll_concurrency)
    known = [each for each in due if each.provider_task_id is not None]
    _look_up(ctx, [each.job_id for each in due if each.provider_task_id is None])
    answers = list(ctx.poll_threads.map(lambda each: _ask(ctx, each), known))
    decisions = [(each, _decide(ctx, each, answer)) for each, answer in zip(known, answers, strict=True)]
    ctx.pulse.timetable.put_back(
        [NextLook(each.job_id, d.delay_s, d.progress) for each, d in decisions if isinstance(d, PollAgain)]
    )
    _end(ctx, [(each, d) for each, d in decisions if not isinstance(d, PollAgain)])
    if len(due) == ctx.policy.poll_concurrency:
        return 0.0
    next_s = ctx.pulse.timetable.next_due_in_s()
    return ctx.policy.lane_idle_s if next_s is None else min(max(next_s, 0.0), ctx.policy.lane_idle_s)


def _ask(ctx: Context, due: Due) -> PollAnswer:
    client = ctx.providers.get(due.key_alias or "")
    if client is None:
        return LookAgain("key_not_configured", key_refused=True)
    try:
        return client.poll(due.provider_task_id or "")
    except Exception as error:
        # One answer that our own code can't take must not hold up the others that were claimed with it.
        log.exception("poll_failed", job_id=due.job_id)
        return LookAgain(type(error).__name__)


def _decide(ctx: Context, due: Due, answer: PollAnswer) -> Decision:
    decision = decide(
        answer,
        ctx.policy.poll,
        # The create's instant is the ledger's, this clock the worker's: a difference only shifts when it is overdue.
        age_s=time.time() - due.created_epoch_s,
        polls=due.polls + 1,
        spread=random.random(),  # noqa: S311 (spreads load, hides nothing)
    )
    if isinstance(decision, PollAgain) and decision.alarm:
        log.warning("poll_said_nothing", job_id=due.job_id, key=due.key_alias, reason=decision.alarm)
    return decision


def _end(ctx: Context, ended: Sequence[tuple[Due, Decision]]) -> None:
    if not ended:
        return
    # By id, as everywhere where a transaction changes several jobs: two of them can't wait for each other.
    ended = sorted(ended, key=lambda each: each[0].job_id)
    with ctx.ledger.begin() as tx:
        moved = [_write(ctx, tx, due, decision) for due, decision in ended]
    for job in moved:
        if job is not None and job.state is State.DOWNLOADING:
            hint_finish(job)
    ctx.pulse.timetable.drop([due.job_id for due, _ in ended])
    ctx.show([due.job_id for due, _ in ended])


def _write(ctx: Context, tx: Transaction, due: Due, decision: Decision) -> Job | None:
    if isinstance(decision, Finish):
        answer = FinalAnswer.of(decision.answer).to_json()
        detail = {"polls": due.polls + 1}
        return move(tx, due.job_id, Event.COMPLETED, lease_s=ctx.policy.handover_s, detail=detail, answer=answer)
    if isinstance(decision, Fail):
        return _write_failure(ctx, tx, due, decision.answer)
    raise TypeError(f"a {type(decision).__name__} does not end a job")


def _write_failure(ctx: Context, tx: Transaction, due: Due, answer: Failed) -> Job | None:
    job = move(
        tx,
        due.job_id,
        Event.FAILED,
        lease_s=ctx.policy.handover_s,
        detail={"polls": due.polls + 1, "code": answer.code},
        error_code=answer.code,
        error_message=answer.message,
        error_stage=State.GENERATING,
    )
    if job is not None and answer.usage.cost_usd:  # a failure is free unless the provider says what it cost
        price = price_of(answer.usage, job.estimate_usd)
        discount = None if answer.usage.discount is None else str(answer.usage.discount)
        charge(tx, job, price, discount=discount, usage=answer.usage.raw, metadata=answer.metadata)
    return job


def _look_up(ctx: Context, job_ids: Sequence[str]) -> None:
    """Repair entries whose hash is gone: made anew from the ledger, or taken off when nobody needs to look."""
    if not job_ids:
        return
    with ctx.ledger.read() as tx:
        generating = [job for job in get_many(tx, job_ids) if job.state is State.GENERATING]
    ctx.pulse.timetable.drop(job_ids)
    ctx.pulse.timetable.schedule([timetable_entry(ctx.policy.poll, job) for job in generating])
