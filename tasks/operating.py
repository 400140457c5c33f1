"""What a person does with a job: cancel it, try it again, or say what became of a create whose outcome is unknown.

Each function checks what it is asked against what is true, changes the ledger in one transaction, and says what it did.
What has to follow is left to the sweep (a lease that has run out already), so that nothing here needs a broker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import structlog

from schemas.jobs import TERMINAL, State
from tasks.charging import charge_task
from tasks.context import Context
from tasks.domain.answers import Completed, Failed, LookAgain, NotFound, Running, Usage
from tasks.domain.job import Job
from tasks.domain.transitions import Event
from tasks.fetching import final_answer
from tasks.inputs import stored_inputs
from tasks.ledger.database import Transaction
from tasks.ledger.holding import is_held
from tasks.ledger.jobs import commands_done, get, lock_many, move, request_cancel
from tasks.ledger.money import (
    UNKNOWN_KEY,
    doubtful_attempts,
    is_known_task,
    latest_attempt,
    name_task,
    owner_of_task,
    unknown_task,
)
from tasks.ledger.retention import is_given_up, take_back
from tasks.settling import ask

log = structlog.get_logger("reelworks.operate")

WRITTEN_OFF: Final = "written_off"
_AT_ONCE_S: Final = 0.0
_CANCELLED_AT_ONCE: Final = frozenset({State.QUEUED, State.ADMITTED, State.DOWNLOADING})
# Whoever has a job tried again wants its output, whatever was said before.
_WANTED: Final[dict[str, Any]] = {
    "error_code": None,
    "error_message": None,
    "error_stage": None,
    "cancel_requested_at": None,
}


class NotPossible(Exception):
    """What was asked for makes no sense for this job. The message says why, and what to do instead."""


def cancel(ctx: Context, job_id: str) -> Job:
    """Cancel a job: at once when nothing was sent, else its provider task is followed to its end and its cost recorded.

    Raises `NotPossible` when the job has ended, or its outputs are stored already.
    """
    with ctx.ledger.begin("operate") as tx:
        job = _existing(tx, job_id)
        if job.state in TERMINAL:
            raise NotPossible(f"job {job_id} has ended already: it is {job.state}")
        if job.state is State.RECORDING:
            raise NotPossible(f"job {job_id} is all but completed: its outputs are stored")
        if job.cancel_requested_at is not None:
            return job
        if not request_cancel(tx, job):
            raise NotPossible(f"job {job_id} has just moved on; try again")
        moved = move(tx, job_id, Event.CANCEL, lease_s=_AT_ONCE_S) if job.state in _CANCELLED_AT_ONCE else None
        if job.state is State.DOWNLOADING and moved is not None:
            answer = final_answer(job)
            charge_task(tx, job, answer.usage, answer.metadata)
        after = _existing(tx, job_id)
    log.info("job_cancelled", job_id=job_id, state=after.state)
    ctx.show([job_id])
    return after


def retry(ctx: Context, job_id: str, *, anew: bool = False, command: str | None = None) -> Job:
    """Have a failed job tried again from the stage that failed. With `anew`, create it once more: that costs again.

    `command` is the id of the message that asked for it: what was asked once is done once, however often it is read.
    Raises `NotPossible` when the job has not failed, or when only another create could help and `anew` was not given.
    """
    with ctx.ledger.begin("operate") as tx:
        lock_many(tx, [job_id])  # its files may be given up at this moment
        job = _existing(tx, job_id)
        if command is not None and command in commands_done(tx, job_id):
            return job
        by = "operator" if command is None else f"command {command}"
        if job.state is State.UNCERTAIN:
            raise NotPossible(f"job {job_id} is uncertain: resolve it with `python -m workers uncertain`")
        if job.state is not State.FAILED:
            raise NotPossible(f"job {job_id} has not failed: it is {job.state}")
        _take_back(ctx, tx, job, anew=anew)
        if anew:
            moved = _create_anew(tx, job, by)
        elif job.error_stage == State.DOWNLOADING and job.answer is not None:
            moved = move(tx, job_id, Event.REFETCH, lease_s=_AT_ONCE_S, detail={"by": by}, **_WANTED)
        elif job.provider_task_id is None and job.error_code != WRITTEN_OFF:
            fresh = {"key_alias": None, "deadline_at": None}
            moved = move(tx, job_id, Event.REQUEUE, detail={"by": by}, **fresh, **_WANTED)
        else:
            raise NotPossible(
                f"job {job_id} failed at the provider: only another create could help, which costs again (--anew)"
            )
        after = _moved(moved, job)
    log.info("job_retried", job_id=job_id, state=after.state, anew=anew)
    ctx.show([job_id])
    return after


def _take_back(ctx: Context, tx: Transaction, job: Job, *, anew: bool) -> None:
    """Have files kept again that were given up. Raises `NotPossible` when a create would miss a picture."""
    if not is_given_up(tx, job.id):
        return
    pictures = stored_inputs(job.request)
    if not take_back(tx, job, [image.name for image in pictures]):
        raise NotPossible(f"the files of job {job.id} are just being removed; try again in a moment")
    creates = anew or job.provider_task_id is None
    if creates and not all(ctx.store.has_input(image.sha256, image.format) for image in pictures):
        raise NotPossible(f"the pictures of job {job.id} are not kept any more: submit it again")


def bind(ctx: Context, job_id: str, provider_task_id: str, *, by: str = "operator") -> Job:
    """Say which provider task an uncertain job has. The provider is asked first, with the key of the job; of one that
    is held since the ledger was restored, whose key is not known, with every key there is.

    Raises `NotPossible` when the provider does not know the task, or it is another job's, and as `_heed_timetable`.
    """
    with ctx.ledger.read() as tx:
        job = _uncertain(tx, job_id)
        owner = owner_of_task(tx, provider_task_id)
        was_charged = owner is None and is_known_task(tx, provider_task_id)
        held = is_held(tx, job_id)
        attempt_id = latest_attempt(tx, job_id)
        if held and not doubtful_attempts(tx, job_id):
            attempt_id = None  # the one that made the task is lost
    _heed_timetable(ctx, job_id, besides=provider_task_id)
    if job.provider_task_id not in (None, provider_task_id):
        raise NotPossible(
            f"job {job_id} has task {job.provider_task_id}: bind that one, write it off or create it anew"
        )
    if owner is not None and owner != job_id:
        raise NotPossible(f"provider task {provider_task_id} is that of job {owner}")
    if was_charged:
        raise NotPossible(f"provider task {provider_task_id} was charged to a job that is not kept any more")
    key_alias = _key_of_task(ctx, provider_task_id, _keys_to_ask(ctx, job, held=held))
    with ctx.ledger.begin("operate") as tx:
        if attempt_id is not None:
            name_task(tx, attempt_id, provider_task_id)
        values = {"provider_task_id": provider_task_id, "key_alias": key_alias, "generating_at": tx.now}
        moved = move(tx, job_id, Event.ACCEPTED, lease_s=_AT_ONCE_S, detail={"by": by}, **values)
        after = _moved(moved, job)
    log.info("job_bound", job_id=job_id, provider_task_id=provider_task_id)
    ctx.show([job_id])
    return after


def _keys_to_ask(ctx: Context, job: Job, *, held: bool) -> list[str]:
    """The key of a job; of one that is held every other as well, by which it may have been created meanwhile."""
    own = [] if job.key_alias is None else [job.key_alias]
    return own + [alias for alias in sorted(ctx.providers) if held and alias not in own]


def _key_of_task(ctx: Context, provider_task_id: str, key_aliases: Sequence[str]) -> str:
    """The first of these keys whose task it is. Raises `NotPossible`."""
    refusal = f"key {', '.join(key_aliases) or 'of the job'} is not configured here: set REELWORKS_PROVIDER_KEYS"
    for alias in key_aliases:
        match ask(ctx, alias, provider_task_id):
            case Running() | Completed() | Failed():
                return alias
            case NotFound():
                refusal = f"the provider knows no task {provider_task_id} of key {', '.join(key_aliases)}"
            case LookAgain(reason):
                raise NotPossible(f"the provider did not say whether it knows {provider_task_id} ({reason}): try again")
            case None:
                pass
    raise NotPossible(refusal)


def write_off(ctx: Context, job_id: str, paid_usd: Decimal | None) -> Job:
    """Give an uncertain job up: it fails. `paid_usd` is charged for it, marked as an estimate; `None`: nothing was.

    Raises `NotPossible`, and as `_heed_timetable`.
    """
    _heed_timetable(ctx, job_id)
    with ctx.ledger.begin("operate") as tx:
        job = _uncertain(tx, job_id)
        if paid_usd is not None:
            task = job.provider_task_id or unknown_task(latest_attempt(tx, job_id) or job_id)
            key_alias = job.key_alias or UNKNOWN_KEY  # none is known of one that was queued when the ledger was copied
            paid = replace(job, provider_task_id=task, key_alias=key_alias, estimate_usd=paid_usd)
            charge_task(tx, paid, Usage(), {"written_off": True})
        moved = move(
            tx,
            job_id,
            Event.WRITE_OFF,
            lease_s=_AT_ONCE_S,
            detail={"paid_usd": None if paid_usd is None else str(paid_usd)},
            error_code=WRITTEN_OFF,
            error_message="What became of the create is not known; an operator gave it up.",
            error_stage=State.UNCERTAIN,
        )
        after = _moved(moved, job)
    log.warning("job_written_off", job_id=job_id, paid=paid_usd is not None)
    ctx.show([job_id])
    return after


def create_anew(ctx: Context, job_id: str, *, by: str = "operator") -> Job:
    """Create an uncertain job once more, knowing that the first may have been accepted too: it can cost twice.

    Raises `NotPossible`, and as `_heed_timetable`.
    """
    _heed_timetable(ctx, job_id)
    with ctx.ledger.begin("operate") as tx:
        job = _uncertain(tx, job_id)
        if job.cancel_requested_at is not None:
            raise NotPossible(f"job {job_id} was cancelled: nobody wants another create; write it off or bind its task")
        after = _moved(_create_anew(tx, job, by), job)
    log.warning("job_created_anew", job_id=job_id, by=by)
    ctx.show([job_id])
    return after


def _create_anew(tx: Transaction, job: Job, by: str) -> Job | None:
    # What its first task cost, or will have cost, stands with the attempt that made it.
    if job.provider_task_id is not None and (attempt_id := latest_attempt(tx, job.id)) is not None:
        name_task(tx, attempt_id, job.provider_task_id, settle_at=tx.now + timedelta(seconds=_AT_ONCE_S))
    fresh = {"key_alias": None, "provider_task_id": None, "generating_at": None, "answer": None, "deadline_at": None}
    return move(tx, job.id, Event.ANEW, detail={"by": by}, **fresh, **_WANTED)


def _heed_timetable(ctx: Context, job_id: str, *, besides: str | None = None) -> None:
    """Refuse to go past the task that Redis has of a job that is held since the ledger was restored.

    It was created, and paid for, since the copy was taken. What is done without it would take its job from it: then
    nobody would charge it. `besides`: the task that is asked for. Raises `NotPossible`, and `PulseError` while Redis
    can't be asked.
    """
    with ctx.ledger.read() as tx:
        _uncertain(tx, job_id)
        held = is_held(tx, job_id)
    noted = ctx.pulse.timetable.noted_of([job_id]).get(job_id) if held else None
    if noted is not None and noted.provider_task_id != besides:
        raise NotPossible(
            f"job {job_id} was created since the copy was taken: Redis' timetable has task {noted.provider_task_id}"
            f" of key {noted.key_alias}. Bind that one, or wait: once the provider has ended it, the job goes on"
        )


def _existing(tx: Transaction, job_id: str) -> Job:
    job = get(tx, job_id)
    if job is None:
        raise NotPossible(f"there is no job {job_id}")
    return job


def _uncertain(tx: Transaction, job_id: str) -> Job:
    job = _existing(tx, job_id)
    if job.state is not State.UNCERTAIN:
        raise NotPossible(f"job {job_id} is not uncertain: it is {job.state}")
    return job


def _moved(moved: Job | None, job: Job) -> Job:
    if moved is None:
        raise NotPossible(f"job {job.id} has just moved on; look at it again")
    return moved
