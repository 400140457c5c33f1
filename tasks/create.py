"""Task create: commits an attempt, asks the provider once, and commits what came of it.

The order is the promise: the attempt stands in the ledger before a byte leaves, so that whatever happens next, a create
whose outcome is not known is seen as such and never repeated unasked.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog
from celery import shared_task

from schemas.errors import RequestInvalid
from schemas.jobs import State
from schemas.requests import parse_request
from tasks import context
from tasks.context import Context
from tasks.domain.creating import Verdict, judge
from tasks.domain.job import Job
from tasks.domain.transitions import Event
from tasks.hints import CREATE
from tasks.inputs import sent_form
from tasks.ledger.jobs import get, move
from tasks.ledger.money import begin_attempt, end_attempt
from tasks.media.errors import InputUnavailable
from tasks.pulse import PulseError
from tasks.schedule import timetable_entry
from tasks.vtrix.client import VtrixClient
from tasks.vtrix.mapping import create_body

log = structlog.get_logger("reelworks.create")


@shared_task(name=CREATE, ignore_result=True)
def create(job: str) -> None:
    """Create the provider task of an admitted job."""
    ctx = context.current()
    prepared = _prepare(ctx, job)
    if prepared is None:
        return
    provider, body = prepared
    with ctx.ledger.begin() as tx:
        begun = move(tx, job, Event.BEGIN, lease_s=ctx.policy.create_lease_s)
        attempt_id = None if begun is None else begin_attempt(tx, begun)
    if begun is None or attempt_id is None:
        return  # another message was first, or the job is past this step
    outcome = provider.create(body)
    verdict = judge(outcome, ctx.policy.create_retry_s, ctx.policy.key_pause_s)
    after = _commit(ctx, begun, attempt_id, verdict)
    _follow(ctx, begun, verdict, after)


def _prepare(ctx: Context, job_id: str) -> tuple[VtrixClient, Mapping[str, Any]] | None:
    """Whom to ask and what to send, made before the attempt begins: whatever fails here has provably sent nothing."""
    with ctx.ledger.read() as tx:
        job = get(tx, job_id)
    if job is None or job.state is not State.ADMITTED:
        return None
    provider = ctx.providers.get(job.key_alias or "")
    if provider is None:
        _back(ctx, job)
        return None
    try:
        request = parse_request(job.request, stored_inputs=True)
        first = sent_form(ctx.store, request.first_frame_image)
        last = sent_form(ctx.store, request.last_frame_image)
    except (RequestInvalid, InputUnavailable) as error:
        with ctx.ledger.begin() as tx:
            move(
                tx,
                job_id,
                Event.REJECTED,
                lease_s=ctx.policy.handover_s,
                error_code="request_unusable",
                error_message=str(error),
                error_stage=State.ADMITTED,
            )
        ctx.show([job_id])
        return None
    return provider, create_body(request, first_frame=first, last_frame=last)


def _back(ctx: Context, job: Job) -> None:
    """Queue a job again whose key this worker does not have: another worker's settings name it, or none does."""
    with ctx.ledger.begin() as tx:
        later = tx.now + timedelta(seconds=ctx.policy.create_retry_s)
        move(tx, job.id, Event.UNSENT, detail={"outcome": "key_not_configured"}, key_alias=None, not_before=later)
    log.warning("key_not_configured", job_id=job.id, key=job.key_alias)
    ctx.show([job.id])


def _commit(ctx: Context, job: Job, attempt_id: str, verdict: Verdict) -> Job | None:
    with ctx.ledger.begin() as tx:
        end_attempt(
            tx,
            attempt_id,
            verdict.outcome,
            reason=verdict.reason,
            http_status=verdict.http_status,
            provider_task_id=verdict.provider_task_id,
        )
        values: dict[str, Any] = {}
        if verdict.event is Event.ACCEPTED:
            values = {"provider_task_id": verdict.provider_task_id, "generating_at": tx.now}
        elif verdict.event is Event.UNSENT:
            values = {"key_alias": None, "not_before": tx.now + timedelta(seconds=verdict.retry_after_s or 0)}
        elif verdict.event is Event.REJECTED:
            values = {"error_code": verdict.error_code, "error_message": verdict.reason, "error_stage": job.state}
        evidence = {"outcome": verdict.outcome, "http_status": verdict.http_status, "reason": verdict.reason}
        lease_s = None if verdict.event is Event.UNSENT else ctx.policy.handover_s
        return move(tx, job.id, verdict.event, lease_s=lease_s, detail=evidence, **values)


def _follow(ctx: Context, job: Job, verdict: Verdict, after: Job | None) -> None:
    """Tell the others what happened. None of it is needed for the job to go on: the sweep would find out."""
    log.info("create_ended", job_id=job.id, key=job.key_alias, outcome=verdict.outcome, http_status=verdict.http_status)
    try:
        if verdict.pause_key_s is not None:
            ctx.pulse.keys.pause(job.key_alias or "", verdict.pause_key_s, verdict.reason or verdict.outcome)
            log.warning("key_paused", key=job.key_alias, outcome=verdict.outcome, for_s=verdict.pause_key_s)
        if after is not None and after.state is State.GENERATING:
            ctx.pulse.timetable.schedule([timetable_entry(ctx.policy.poll, after)])
    except PulseError as error:
        log.warning("follow_up_not_sent", job_id=job.id, error=type(error).__name__)
    ctx.show([job.id])
