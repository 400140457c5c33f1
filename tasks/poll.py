"""Lane poll: claims what is due, asks the provider for each, and sets each one's next look.

While a task is in progress nothing is written to the ledger; only the provider's final word is.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from schemas.jobs import State
from tasks.admitting import fill
from tasks.charging import charge_task
from tasks.context import Context
from tasks.domain.answers import LookAgain, PollAnswer, Usage
from tasks.domain.job import Job
from tasks.domain.looking import Decision, Fail, FinalAnswer, Finish, Lose, PollAgain, decide
from tasks.domain.transitions import Event
from tasks.failpoints import failpoint
from tasks.hints import hint_finish
from tasks.lanes import lane
from tasks.ledger.database import Transaction
from tasks.ledger.jobs import get, get_many, move
from tasks.pulse.timetable import Due, NextLook
from tasks.schedule import known_of, learn, pressure_on, slow_down, timetable_entry
from tasks.vtrix.errors import UNKNOWN_CODE
from tasks.vtrix.redact import without

log = structlog.get_logger("reelworks.poll")


@lane("poll")
def poll(ctx: Context) -> float:
    """Look at the provider tasks that are due: as many as can be asked at once, so that no claim waits for its turn."""
    failpoint("poll.before_claim")
    due = ctx.pulse.timetable.claim_due(ctx.policy.poll_lease_s, ctx.policy.poll_concurrency)
    failpoint("poll.after_claim")
    known = [each for each in due if each.provider_task_id is not None]
    _look_up(ctx, [each.job_id for each in due if each.provider_task_id is None])
    known = _without_resting(ctx, known)
    answers = list(ctx.poll_threads.map(lambda each: _ask(ctx, each), known))
    _heed(ctx, list(zip(known, answers, strict=True)))
    decisions = [(each, _decide(ctx, each, answer)) for each, answer in zip(known, answers, strict=True)]
    failpoint("poll.before_put_back")
    ctx.pulse.timetable.put_back(
        [
            NextLook(each.job_id, d.delay_s, d.progress, d.misses, d.missing, None if d.misses else each.age_s)
            for each, d in decisions
            if isinstance(d, PollAgain)
        ]
    )
    failpoint("poll.after_put_back")
    _end(ctx, [(each, d) for each, d in decisions if not isinstance(d, PollAgain)])
    if len(due) == ctx.policy.poll_concurrency:
        return 0.0
    next_s = ctx.pulse.timetable.next_due_in_s()
    return ctx.policy.lane_idle_s if next_s is None else min(max(next_s, 0.0), ctx.policy.lane_idle_s)


def _without_resting(ctx: Context, due: Sequence[Due]) -> list[Due]:
    """Those that may be asked about. The tasks of a key that the provider wants to hear nothing of are put back."""
    going, resting = [], []
    for each in due:
        rest_s = pressure_on(ctx, each.key_alias).rest_s
        if rest_s > 0:
            spread_s = random.random() * ctx.policy.poll.interval_s  # noqa: S311 (as below)
            resting.append(NextLook(each.job_id, rest_s + spread_s, counted=False))
        else:
            going.append(each)
    ctx.pulse.timetable.put_back(resting)
    return going


def _heed(ctx: Context, answered: Sequence[tuple[Due, PollAnswer]]) -> None:
    """Slow all looks of a key down of which the provider has had too many requests, once for all that were told so."""
    rests: dict[str, float] = {}
    for due, answer in answered:
        if isinstance(answer, LookAgain) and answer.throttled:
            alias = due.key_alias or ""
            rests[alias] = max(rests.get(alias, 0.0), answer.retry_after_s or 0.0)
    for alias, rest_s in rests.items():
        # The look that was told so waits for as long as it was told; one answer does not silence a key for an hour.
        slow_down(ctx, alias, min(rest_s, ctx.policy.poll.overdue_interval_s))


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
        age_s=due.age_now_s,
        polls=due.polls + 1,
        misses=due.misses,
        missing_s=due.missing_s,
        spread=random.random(),  # noqa: S311 (spreads load, hides nothing)
        known=known_of(ctx, due.kind),
        progress=due.progress,
        slowed=pressure_on(ctx, due.key_alias).slowed,
    )
    if isinstance(decision, PollAgain) and decision.alarm:
        log.warning("poll_said_nothing", job_id=due.job_id, key=due.key_alias, reason=decision.alarm)
    return decision


def _end(ctx: Context, ended: Sequence[tuple[Due, Decision]]) -> None:
    if not ended:
        return
    # By id, as everywhere where a transaction changes several jobs: two of them can't wait for each other.
    ended = sorted(ended, key=lambda each: each[0].job_id)
    charges: list[_Charge] = []
    with ctx.ledger.begin("poll") as tx:
        moved = [_write(ctx, tx, due, decision, charges) for due, decision in ended]
        for each in sorted(charges, key=lambda one: one.job.tenant):
            charge_task(tx, each.job, each.usage, each.metadata, failed=each.failed)
    for job in moved:
        if job is not None and job.state is State.DOWNLOADING:
            hint_finish(job)
        if job is not None and job.state is State.UNCERTAIN:
            log.error("provider_task_lost", job_id=job.id, key=job.key_alias, provider_task_id=job.provider_task_id)
    ctx.pulse.timetable.drop([due.job_id for due, _ in ended])
    ctx.show([due.job_id for due, _ in ended])
    learn(ctx, [(due, decision.answer.took_s) for due, decision in ended if isinstance(decision, Finish)])
    fill(ctx)


@dataclass(frozen=True, slots=True)
class _Charge:
    """What is charged once all jobs of a transaction are moved: by tenant, whose sums it changes."""

    job: Job
    usage: Usage
    metadata: Mapping[str, Any]
    failed: bool = False


def _write(ctx: Context, tx: Transaction, due: Due, decision: Decision, charges: list[_Charge]) -> Job | None:
    job = get(tx, due.job_id)
    if job is None or job.state is not State.GENERATING or job.provider_task_id != due.provider_task_id:
        return None  # it has moved on, and this is an old answer
    detail: dict[str, Any] = {"polls": due.polls + 1}
    values: dict[str, Any] = {}
    match decision:
        case Lose():
            event, detail["missing_s"] = Event.LOST, round(due.missing_s or 0)
        case Finish(answer) if job.cancel_requested_at is not None:
            event = Event.CANCEL
            charges.append(_Charge(job, answer.usage, answer.metadata))
        case Finish(answer):
            event, values = Event.COMPLETED, {"answer": FinalAnswer.of(answer).to_json()}
            detail |= {"looked_s": due.looked_s, "progress": due.progress, "took_s": answer.took_s}
        case Fail(failure):
            # Whoever polls does not know the prompt, which the provider may have repeated.
            prompt = str(job.request.get("prompt") or "")
            code = failure.code if without(failure.code, prompt) == failure.code else UNKNOWN_CODE
            event, detail["code"] = Event.FAILED, code
            if job.cancel_requested_at is not None:
                event = Event.CANCEL
            else:
                message = without(failure.message, prompt)
                values = {"error_code": code, "error_message": message, "error_stage": job.state}
            charges.append(_Charge(job, failure.usage, failure.metadata, failed=True))
        case PollAgain():
            raise TypeError("a look that is put back does not end a job")
    return move(tx, job.id, event, lease_s=ctx.policy.handover_s, detail=detail, **values)


def _look_up(ctx: Context, job_ids: Sequence[str]) -> None:
    """Repair entries whose hash is gone: made anew from the ledger, or taken off when nobody needs to look."""
    if not job_ids:
        return
    with ctx.ledger.read() as tx:
        generating = [job for job in get_many(tx, job_ids) if job.state is State.GENERATING]
        now = tx.now
    ctx.pulse.timetable.drop(job_ids)
    ctx.pulse.timetable.schedule([timetable_entry(ctx, job, now) for job in generating])
