"""Lane poll: claims what is due, asks the provider about all of it at once, and sets each one's next look.

While a task is in progress nothing is written to the ledger; only the provider's final word is.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, Final

import structlog

from schemas.jobs import State
from tasks.charging import charge_task
from tasks.context import Context
from tasks.domain.answers import LookAgain, PollAnswer
from tasks.domain.job import Job
from tasks.domain.looking import Decision, Fail, FinalAnswer, Finish, Lose, PollAgain, decide
from tasks.domain.transitions import Event
from tasks.failpoints import failpoint
from tasks.hints import hint_finish
from tasks.lanes import lane
from tasks.ledger.database import Transaction
from tasks.ledger.jobs import get, get_many, move
from tasks.pulse.timetable import Due, NextLook
from tasks.schedule import timetable_entry
from tasks.vtrix.asking import Look
from tasks.vtrix.errors import UNKNOWN_CODE
from tasks.vtrix.redact import without

log = structlog.get_logger("reelworks.poll")

_KEY_NOT_CONFIGURED: Final[PollAnswer] = LookAgain("key_not_configured", key_refused=True)


@lane("poll")
def poll(ctx: Context) -> float:
    """Look at the provider tasks that are due: whatever is claimed is asked about at once, and none waits."""
    failpoint("poll.before_claim")
    due = ctx.pulse.timetable.claim_due(ctx.policy.poll_lease_s, ctx.policy.poll_batch)
    failpoint("poll.after_claim")
    known = [each for each in due if each.provider_task_id is not None]
    _look_up(ctx, [each.job_id for each in due if each.provider_task_id is None])
    for answered in _ask(ctx, known):
        _work(ctx, answered)
    if len(due) == ctx.policy.poll_batch:
        return 0.0
    next_s = ctx.pulse.timetable.next_due_in_s()
    return ctx.policy.lane_idle_s if next_s is None else min(max(next_s, 0.0), ctx.policy.lane_idle_s)


def _ask(ctx: Context, due: Sequence[Due]) -> Iterator[list[tuple[Due, PollAnswer]]]:
    """Answers as they come, in groups: one that is long in coming keeps none of the others from being worked."""
    askable, looks, refused = [], [], []
    for each in due:
        provider = ctx.providers.get(each.key_alias or "")
        if provider is None:
            refused.append((each, _KEY_NOT_CONFIGURED))
        else:
            askable.append(each)
            looks.append(Look(provider, each.provider_task_id or ""))
    if refused:
        yield refused
    for answered in ctx.asker.ask_many(looks):
        yield [(askable[place], _taken(askable[place], answer)) for place, answer in answered]


def _taken(due: Due, answer: PollAnswer | Exception) -> PollAnswer:
    if not isinstance(answer, Exception):
        return answer
    # One answer that our own code can't take must not hold up the others that were claimed with it.
    log.error("poll_failed", job_id=due.job_id, exc_info=answer)
    return LookAgain(type(answer).__name__)


def _work(ctx: Context, answered: Sequence[tuple[Due, PollAnswer]]) -> None:
    decisions = [(each, _decide(ctx, each, answer)) for each, answer in answered]
    failpoint("poll.before_put_back")
    ctx.pulse.timetable.put_back(
        [
            NextLook(each.job_id, d.delay_s, d.progress, d.misses, d.missing)
            for each, d in decisions
            if isinstance(d, PollAgain)
        ]
    )
    failpoint("poll.after_put_back")
    _end(ctx, [(each, d) for each, d in decisions if not isinstance(d, PollAgain)])


def _decide(ctx: Context, due: Due, answer: PollAnswer) -> Decision:
    decision = decide(
        answer,
        ctx.policy.poll,
        age_s=due.age_s,
        polls=due.polls + 1,
        misses=due.misses,
        missing_s=due.missing_s,
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
    with ctx.ledger.begin("poll") as tx:
        moved = [_write(ctx, tx, due, decision) for due, decision in ended]
    for job in moved:
        if job is not None and job.state is State.DOWNLOADING:
            hint_finish(job)
        if job is not None and job.state is State.UNCERTAIN:
            log.error("provider_task_lost", job_id=job.id, key=job.key_alias, provider_task_id=job.provider_task_id)
    ctx.pulse.timetable.drop([due.job_id for due, _ in ended])
    ctx.show([due.job_id for due, _ in ended])


def _write(ctx: Context, tx: Transaction, due: Due, decision: Decision) -> Job | None:
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
            charge_task(tx, job, answer.usage, answer.metadata)
        case Finish(answer):
            event, values = Event.COMPLETED, {"answer": FinalAnswer.of(answer).to_json()}
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
            charge_task(tx, job, failure.usage, failure.metadata, failed=True)
        case PollAgain():
            raise TypeError("a look that is put back does not end a job")
    return move(tx, job.id, event, lease_s=ctx.policy.handover_s, detail=detail, **values)


def _look_up(ctx: Context, job_ids: Sequence[str]) -> None:
    """Repair entries whose hash is gone: made anew from the ledger, or taken off when nobody needs to look."""
    if not job_ids:
        return
    with ctx.ledger.read() as tx:
        generating = [job for job in get_many(tx, job_ids) if job.state is State.GENERATING]
    ctx.pulse.timetable.drop(job_ids)
    ctx.pulse.timetable.schedule([timetable_entry(ctx.policy.poll, job) for job in generating])
