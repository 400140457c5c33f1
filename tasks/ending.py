"""Ends looks at provider tasks of which the provider has said its final word: in the ledger, and what follows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from schemas.jobs import State
from tasks.admitting import fill
from tasks.charging import charge_task
from tasks.context import Context
from tasks.domain.answers import FinalAnswer, Usage
from tasks.domain.job import Job
from tasks.domain.looking import Decision, Fail, Finish, Lose, PollAgain
from tasks.domain.transitions import Event
from tasks.hints import hint_finish
from tasks.ledger.database import Transaction
from tasks.ledger.holding import is_held
from tasks.ledger.jobs import lock_many, move_read
from tasks.ledger.money import owner_of_task
from tasks.pulse.timetable import Due
from tasks.schedule import learn
from tasks.vtrix.errors import UNKNOWN_CODE
from tasks.vtrix.redact import without

log = structlog.get_logger("reelworks.poll")


def end(ctx: Context, ended: Sequence[tuple[Due, Decision]]) -> None:
    """Write the provider's final words, one commit for all of them; then have outputs fetched and free slots filled."""
    if not ended:
        return
    # By id, as everywhere where a transaction changes several jobs: two of them can't wait for each other.
    ended = sorted(ended, key=lambda each: each[0].job_id)
    charges: list[_Charge] = []
    with ctx.ledger.begin("poll") as tx:
        jobs = {job.id: job for job in lock_many(tx, [due.job_id for due, _ in ended])}
        moved = [_write(ctx, tx, jobs.get(due.job_id), due, decision, charges) for due, decision in ended]
        for each in sorted(charges, key=lambda one: one.job.tenant):
            charge_task(tx, each.job, each.usage, each.metadata, failed=each.failed)
    hint_finish([job for job in moved if job is not None and job.state is State.DOWNLOADING])
    for job in moved:
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


def _write(
    ctx: Context, tx: Transaction, job: Job | None, due: Due, decision: Decision, charges: list[_Charge]
) -> Job | None:
    if job is None:
        _say_nobodys(due)
        return None
    job = _taken_up(ctx, tx, job, due, decision) or job
    if job.state is not State.GENERATING or job.provider_task_id != due.noted.provider_task_id:
        if owner_of_task(tx, due.noted.provider_task_id) is None:
            _say_nobodys(due)
        return None  # it has moved on, and this is an old answer
    detail: dict[str, Any] = {"polls": due.noted.polls + 1}
    values: dict[str, Any] = {}
    match decision:
        case Lose():
            event, detail["missing_s"] = Event.LOST, round(due.missing_s or 0)
        case Finish(answer) if job.cancel_requested_at is not None:
            event = Event.CANCEL
            charges.append(_Charge(job, answer.usage, answer.metadata))
        case Finish(answer):
            event, values = Event.COMPLETED, {"answer": FinalAnswer.of(answer).to_json()}
            detail |= {"looked_s": due.noted.looked_s, "progress": due.noted.progress_then, "took_s": answer.took_s}
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
    return move_read(tx, job, event, lease_s=ctx.policy.handover_s, detail=detail, **values)


def _say_nobodys(due: Due) -> None:
    """Of a task that was created since the backup was taken from which the ledger was restored, for a job that is not
    in it, or has gone on without that task: it is paid for all the same."""
    noted = due.noted
    log.error("task_of_no_job", job_id=due.job_id, key=noted.key_alias, provider_task_id=noted.provider_task_id)


def _taken_up(ctx: Context, tx: Transaction, job: Job, due: Due, decision: Decision) -> Job | None:
    """A job that is held since the ledger was restored, once the timetable has told its task and the provider has
    agreed: nothing is in doubt of it any more."""
    if job.state is not State.UNCERTAIN or job.provider_task_id is not None or not isinstance(decision, Finish | Fail):
        return None
    task = due.noted.provider_task_id
    if not is_held(tx, job.id) or owner_of_task(tx, task) is not None:
        return None
    created_at = datetime.fromtimestamp(due.noted.created_s, UTC)
    values: dict[str, Any] = {"provider_task_id": task, "key_alias": due.noted.key_alias, "generating_at": created_at}
    log.warning("job_taken_up", job_id=job.id, key=due.noted.key_alias, provider_task_id=task)
    return move_read(tx, job, Event.ACCEPTED, lease_s=ctx.policy.handover_s, detail={"by": "timetable"}, **values)
