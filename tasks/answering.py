"""Writes the provider's answer to a create into the ledger: at once, late, or out of the spool. Safe to repeat."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from schemas.jobs import State
from tasks.context import Context
from tasks.domain.creating import Answer
from tasks.domain.job import Job
from tasks.domain.transitions import Event
from tasks.ledger import LedgerConflict, LedgerError
from tasks.ledger.database import Transaction
from tasks.ledger.jobs import get, move, move_read
from tasks.ledger.money import end_attempt, latest_attempt, only_task_of, settle_later, take_back_estimate
from tasks.ledger.provider_keys import pause, refused, throttled

log = structlog.get_logger("reelworks.create")

_COMMIT_LATE_S: Final = 60.0
"""For how long a commit whose word was lost may still appear."""


class AttemptUnknown(LookupError):
    """The ledger has no such attempt: its commit was not done, or a failover has lost it. Nothing is written."""


def commit_answer(ctx: Context, answer: Answer, begun: Job | None = None) -> Job | None:
    """Write what came of an attempt, and move its job; gives the job as it is then, `None` where it was not moved.

    `begun`: the job as it was when this attempt began, where that is known. A late answer still counts where its
    attempt is the job's last one, so a job that was parked meanwhile gets its provider task after all. A provider task
    that its job no longer asks for is paid for all the same: it is settled by itself. Raises `LedgerError`: then
    nothing is written; `LedgerConflict` for a provider task that is another job's; `AttemptUnknown`.
    """
    verdict = answer.verdict
    with ctx.ledger.begin("create.outcome") as tx:
        if verdict.provider_task_id is not None:
            only_task_of(tx, answer.job_id, verdict.provider_task_id)
        known = end_attempt(
            tx,
            answer.attempt_id,
            verdict.outcome,
            reason=verdict.reason,
            http_status=verdict.http_status,
            provider_task_id=verdict.provider_task_id,
        )
        if known is None:
            raise AttemptUnknown(answer.attempt_id)
        before = begun
        moved = None if before is None else _move(ctx, tx, answer, before)
        if moved is None:  # it has moved on since it began: then what is there counts
            before = get(tx, answer.job_id) if latest_attempt(tx, answer.job_id) == answer.attempt_id else None
            moved = None if before is None else _move(ctx, tx, answer, before)
        if moved is None and verdict.provider_task_id is not None and not _is_bound(tx, answer):
            settle_later(tx, answer.attempt_id, ctx.policy.settle_s)  # an estimate stands until then
            log.warning("provider_task_without_job", job_id=answer.job_id, provider_task_id=verdict.provider_task_id)
        elif verdict.event is not Event.UNKNOWN and (moved is None or before is None or before.state != State.CREATING):
            # It may have been written off meanwhile; its job charges the task at its end, or there is none.
            take_back_estimate(tx, answer.attempt_id)
        _mind_key(tx, answer, begun_at=known)
    return moved


def _mind_key(tx: Transaction, answer: Answer, begun_at: datetime) -> None:
    """Have the key take less, or nothing, for a while, when the answer says so."""
    verdict, alias = answer.verdict, answer.key_alias
    if verdict.pause_key_s is None:
        return
    match verdict.outcome:
        case "throttled":
            throttled(tx, alias, begun_at, verdict.pause_key_s)
        case "key_refused":
            refused(tx, alias, begun_at, verdict.pause_key_s, verdict.reason or verdict.outcome)
            log.error("key_refused", key=alias, http_status=verdict.http_status, reason=verdict.reason)
        case _:
            pause(tx, alias, verdict.pause_key_s, verdict.outcome)
    log.warning("key_paused", key=alias, outcome=verdict.outcome, for_s=verdict.pause_key_s)


def replay(ctx: Context, each_in: Callable[[], AbstractContextManager[object]] = nullcontext) -> int:
    """Write the answers that wait in this machine's spool into the ledger, each in a block of `each_in`; gives how many
    went."""
    written = 0
    with ctx.spool.alone() as mine:
        for name, entry in ctx.spool.entries() if mine else ():
            with each_in():
                try:
                    answer = Answer.from_json(entry or {})
                    commit_answer(ctx, answer)
                except LedgerConflict as error:
                    _set_aside(ctx, name, error)
                except LedgerError as error:
                    log.warning("spool_waits", error=type(error).__name__)
                    break
                except AttemptUnknown as error:
                    _unknown(ctx, name, answer, error)
                except (ValueError, TypeError, LookupError) as error:
                    _set_aside(ctx, name, error)
                else:
                    ctx.spool.done(name)
                    written += 1
                    log.info("answer_replayed", job_id=answer.job_id, outcome=answer.verdict.outcome)
                    ctx.show([answer.job_id])
    return written


def _unknown(ctx: Context, name: str, answer: Answer, error: AttemptUnknown) -> None:
    task = answer.verdict.provider_task_id
    if task is not None:
        # Only an attempt that was confirmed is sent: the database has lost it since, and the task is paid for.
        log.error("provider_task_without_attempt", job_id=answer.job_id, key=answer.key_alias, provider_task_id=task)
        _set_aside(ctx, name, error)
    elif ctx.spool.age_s(name) > _COMMIT_LATE_S:
        ctx.spool.done(name)
        log.info("answer_not_needed", job_id=answer.job_id, attempt=name, outcome=answer.verdict.outcome)


def _set_aside(ctx: Context, name: str, error: Exception) -> None:
    ctx.spool.set_aside(name)
    log.error("spool_entry_set_aside", attempt=name, error=type(error).__name__)


def _move(ctx: Context, tx: Transaction, answer: Answer, before: Job) -> Job | None:
    verdict = answer.verdict
    values: dict[str, Any] = {}
    if verdict.event is Event.ACCEPTED:
        task = verdict.provider_task_id
        values = {"provider_task_id": task, "key_alias": answer.key_alias, "generating_at": tx.now}
    elif verdict.event is Event.UNSENT:
        values = {"key_alias": None, "not_before": tx.now + timedelta(seconds=verdict.retry_after_s or 0)}
    elif verdict.event is Event.REJECTED:
        values = {
            "error_code": verdict.error_code,
            "error_message": verdict.reason,
            "error_stage": State.CREATING,
        }
    evidence = {"outcome": verdict.outcome, "http_status": verdict.http_status, "reason": verdict.reason}
    lease_s = None if verdict.event is Event.UNSENT else ctx.policy.handover_s
    moved = move_read(tx, before, verdict.event, lease_s=lease_s, detail=evidence, **values)
    if moved is not None and moved.state is State.QUEUED and moved.cancel_requested_at is not None:
        return move(tx, answer.job_id, Event.CANCEL, lease_s=ctx.policy.handover_s)
    return moved


def _is_bound(tx: Transaction, answer: Answer) -> bool:
    job = get(tx, answer.job_id)
    return job is not None and job.provider_task_id == answer.verdict.provider_task_id
