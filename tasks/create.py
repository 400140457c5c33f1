"""Task create: commits an attempt, asks the provider once, and commits what came of it.

The order is the promise: the attempt stands in the ledger before a byte leaves, so that whatever happens next, a create
whose outcome is not known is seen as such and never repeated unasked.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, Final

import structlog
from celery import shared_task

from schemas.errors import RequestInvalid
from schemas.jobs import State
from schemas.requests import parse_request
from tasks import context
from tasks.admitting import fill
from tasks.answering import AttemptUnknown, commit_answer
from tasks.context import Context
from tasks.domain.answers import CreateOutcome, Unknown, Unsent
from tasks.domain.creating import Answer, judge
from tasks.domain.figures import DISK_LOW, REQUEST_S, REQUESTS
from tasks.domain.job import Job
from tasks.domain.transitions import HOLDS_SLOT, Event
from tasks.failpoints import failpoint
from tasks.hints import CREATE
from tasks.inputs import has_stored_inputs, sent_form
from tasks.keeping import given_back, kept
from tasks.ledger import LedgerConflict, LedgerError
from tasks.ledger.jobs import get, move_read
from tasks.ledger.leases import claim, extend, release
from tasks.ledger.money import begin_attempt
from tasks.media.errors import InputUnavailable, StoreAway
from tasks.pulse import PulseError
from tasks.schedule import slow_down, timetable_entry
from tasks.vtrix.client import VtrixClient
from tasks.vtrix.mapping import create_body, with_callback

log = structlog.get_logger("reelworks.create")

_AGAIN_S: Final = 5.0
"""Between two tries at writing an answer down that neither the ledger nor the spool would take."""


@shared_task(name=CREATE, ignore_result=True)
def create(job: str) -> None:
    """Create the provider task of an admitted job."""
    ctx = context.current()
    if not ctx.spool.has_room(ctx.policy.disk_low_bytes):
        # An answer that the database could not take would have no place. Nothing is claimed: the sweep sends another
        # message, and another machine may have room.
        log.error("disk_low", job_id=job)
        ctx.pulse.tally.add(DISK_LOW, "create")
        return
    prepared = _prepare(ctx, job)
    if prepared is None:
        return
    taken, provider, body = prepared
    begins_at = time.monotonic()
    begun = _begin(ctx, taken)
    if begun is None:
        return  # another worker has the job by now, or it is past this step
    job_begun, attempt_id = begun
    if ctx.callbacks is not None:
        body = with_callback(body, ctx.callbacks.url(attempt_id))
    asked_at = time.monotonic()
    outcome = _ask(provider, body, send_by=begins_at + ctx.policy.create_start_s)
    answer = _answer(ctx, job_begun, attempt_id, outcome)
    ctx.pulse.tally.took(REQUEST_S, [time.monotonic() - asked_at], "create")
    ctx.pulse.tally.add(REQUESTS, "create", answer.key_alias, answer.verdict.outcome)
    after = _commit(ctx, job_begun, answer, try_until=begins_at + ctx.policy.create_lease_s)
    _follow(ctx, job_begun, answer, after)


def _take(ctx: Context, job_id: str) -> Job | None:
    """The job, if it is to be created: claimed, where preparing it could kill the worker, so that the try is counted.

    One that has no picture in the store, and whose first message this may be, needs no claim: whatever moves it sees
    whether somebody else was first.
    """
    with ctx.ledger.read() as tx:
        job = get(tx, job_id)
        if job is None or job.state is not State.ADMITTED:
            return None
        is_new = job.tries == 0 and (tx.now - job.changed_at).total_seconds() < ctx.policy.handover_s
    if is_new and not has_stored_inputs(job.request):
        return job
    with ctx.ledger.begin("create.claim") as tx:
        return claim(tx, job_id, State.ADMITTED, ctx.policy.handover_s)


def _prepare(ctx: Context, job_id: str) -> tuple[Job, VtrixClient, Mapping[str, Any]] | None:
    """Whom to ask and what to send, made before the attempt begins: whatever fails here has provably sent nothing."""
    job = _take(ctx, job_id)
    if job is None:
        return None
    if job.deaths >= ctx.policy.deaths_most:
        _refuse(
            ctx, job, "worker_killed", f"{job.deaths} workers did not come back from preparing it; nothing was sent"
        )
        return None
    provider = ctx.providers.get(job.key_alias or "")
    if provider is None:
        _back(ctx, job)
        return None
    try:
        request = parse_request(job.request, stored_inputs=True)
        with _held(ctx, job):
            first = sent_form(ctx.store, request.first_frame_image)
            last = sent_form(ctx.store, request.last_frame_image)
    except (RequestInvalid, InputUnavailable) as error:
        _refuse(ctx, job, "request_unusable", str(error))
        return None
    except StoreAway as error:
        log.warning("store_away", job_id=job.id, reason=str(error))
        with ctx.ledger.begin("given_back") as tx:
            release(tx, job, ctx.policy.handover_s, counted=False)
        return None
    return job, provider, create_body(request, first_frame=first, last_frame=last)


def _held(ctx: Context, job: Job) -> AbstractContextManager[None]:
    """Keep the claim of a job while its pictures are read: an object store may be long in answering."""

    def renew() -> bool:
        with ctx.ledger.begin("create.claim") as tx:
            return extend(tx, job, ctx.policy.handover_s)

    return kept(renew, ctx.policy.handover_s) if _is_claimed(job) else nullcontext()


def _begin(ctx: Context, taken: Job) -> tuple[Job, str] | None:
    """Commit an attempt, if nobody else was first: from here on a create may be under way.

    Raises `LedgerError`: then nothing may be sent.
    """
    begun, attempt_id = None, None
    with given_back(ctx, [taken]):
        try:
            with ctx.ledger.begin("create.begin") as tx:
                # A worker that stalled may find the job admitted anew, with another key than its own.
                begun = move_read(tx, taken, Event.BEGIN, mine=_is_claimed(taken), lease_s=ctx.policy.create_lease_s)
                attempt_id = None if begun is None else begin_attempt(tx, begun)
        except LedgerError as error:
            if begun is not None and attempt_id is not None:
                # The commit may have been done, and only the word of it lost. Nobody but us knows that nothing was
                # sent; so it is on disk before the claim is given back, which waits for the database once more.
                unsent = Unsent(f"the ledger did not confirm the attempt ({type(error).__name__})")
                _spooled(ctx, _answer(ctx, begun, attempt_id, unsent))
            raise
    return None if begun is None or attempt_id is None else (begun, attempt_id)


def _refuse(ctx: Context, job: Job, code: str, message: str) -> None:
    with ctx.ledger.begin("create.refused") as tx:
        refused = move_read(
            tx,
            job,
            Event.REJECTED,
            mine=_is_claimed(job),
            lease_s=ctx.policy.handover_s,
            error_code=code,
            error_message=message,
            error_stage=State.ADMITTED,
        )
    if refused is not None:
        log.warning("job_not_created", job_id=job.id, code=code)
        ctx.show([job.id])


def _back(ctx: Context, job: Job) -> None:
    """Queue a job again whose key this worker does not have: another worker's settings name it, or none does."""
    with ctx.ledger.begin("create.back") as tx:
        later = tx.now + timedelta(seconds=ctx.policy.create_retry_s)
        detail = {"outcome": "key_not_configured"}
        back = move_read(tx, job, Event.UNSENT, mine=_is_claimed(job), detail=detail, key_alias=None, not_before=later)
    if back is not None:
        log.warning("key_not_configured", job_id=job.id, key=job.key_alias)
        ctx.show([job.id])


def _is_claimed(taken: Job) -> bool:
    return taken.tries > 0


def _ask(provider: VtrixClient, body: Mapping[str, Any], send_by: float) -> CreateOutcome:
    # A worker that slept for longer than its lease was taken for dead. Its job may be somebody else's by now, so
    # nothing may leave any more; from here on the call's own deadline sees to that.
    if time.monotonic() > send_by:
        return Unsent("WorkerSlept")
    failpoint("create.before_post")
    outcome = provider.create(body)
    failpoint("create.after_post")
    return outcome


def _answer(ctx: Context, job: Job, attempt_id: str, outcome: CreateOutcome) -> Answer:
    verdict = judge(outcome, ctx.policy.create_retry_s, ctx.policy.key_pause_s)
    return Answer(job.id, attempt_id, job.key_alias or "", verdict)


def _commit(ctx: Context, job: Job, answer: Answer, try_until: float) -> Job | None:
    """Write the answer down: in the ledger, or on this machine's disk until the ledger can be written again (or for a
    person, when the ledger has lost the attempt).

    Where neither takes it, both are tried again for as long as the create's lease runs, by the monotonic clock; what
    is in the log is all that is left of the answer then.
    """
    while True:
        try:
            return commit_answer(ctx, answer, job)
        except LedgerConflict:
            # The provider named a task that is another job's. Whose it is cannot be known from here.
            log.error("provider_task_id_twice", job_id=job.id, provider_task_id=answer.verdict.provider_task_id)  # noqa: TRY400
            doubt = _answer(ctx, job, answer.attempt_id, Unknown("the task id given is another job's"))
            return commit_answer(ctx, doubt)
        except (LedgerError, AttemptUnknown) as error:
            if _spooled(ctx, answer):
                log.warning("answer_spooled", job_id=job.id, outcome=answer.verdict.outcome, error=type(error).__name__)
                return None
        left_s = try_until - time.monotonic()
        if left_s <= 0:
            return None
        time.sleep(min(_AGAIN_S, left_s))


def _spooled(ctx: Context, answer: Answer) -> bool:
    """Whether the answer is in the spool now. If not, the log has its ids: a provider task of which nobody knows is
    paid for all the same."""
    try:
        ctx.spool.keep(answer.attempt_id, answer.to_json())
    except OSError as error:
        log.error(  # noqa: TRY400 (a state of the disk, no surprise)
            "answer_not_spooled",
            job_id=answer.job_id,
            attempt=answer.attempt_id,
            outcome=answer.verdict.outcome,
            provider_task_id=answer.verdict.provider_task_id,
            reason=error.strerror,
        )
        return False
    return True


def _follow(ctx: Context, job: Job, answer: Answer, after: Job | None) -> None:
    """Tell the others what happened. None of it is needed for the job to go on: the sweep would find out."""
    verdict = answer.verdict
    log.info("create_ended", job_id=job.id, key=job.key_alias, outcome=verdict.outcome, http_status=verdict.http_status)
    try:
        if verdict.outcome == "throttled":
            slow_down(ctx, job.key_alias or "")  # creates go first: what looks leave is theirs
        if after is not None and after.state is State.GENERATING:
            ctx.pulse.timetable.schedule([timetable_entry(ctx, after)])
    except PulseError as error:
        log.warning("follow_up_not_sent", job_id=job.id, error=type(error).__name__)
    if after is not None:
        ctx.show([job.id])
        if after.state not in HOLDS_SLOT:
            fill(ctx)
