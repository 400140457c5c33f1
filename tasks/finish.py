"""Tasks download and record, the completion chain: files first, then the charge, each committed before the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import structlog
from celery import Task, shared_task

from schemas.jobs import Output, State
from tasks import context
from tasks.charging import charge_task
from tasks.context import Context
from tasks.domain.answers import Completed, RemoteOutput
from tasks.domain.finishing import GiveUp, expected_film, retry_or_give_up
from tasks.domain.job import Job
from tasks.domain.looking import FinalAnswer
from tasks.domain.transitions import Event
from tasks.hints import DOWNLOAD, RECORD
from tasks.keeping import given_back, kept
from tasks.ledger.database import Transaction
from tasks.ledger.deliverables import store_outputs
from tasks.ledger.jobs import claim, extend, get, move, move_read, refresh_answer, release
from tasks.media.errors import FetchExpired, FetchRefused, MediaError, NoRoom

log = structlog.get_logger("reelworks.finish")


@shared_task(bind=True, name=DOWNLOAD, ignore_result=True)
def download(self: Task[..., Any], job: str) -> None:
    """Fetch, check and store all outputs of a job."""
    ctx = context.current()
    if not ctx.store.has_room():
        # Nothing is claimed, so no try is counted: the sweep sends another message, and another machine may have room.
        log.error("disk_low", job_id=job)
        self.request.chain = None
        return
    with ctx.ledger.begin("download.claim") as tx:
        claimed = claim(tx, job, State.DOWNLOADING, ctx.policy.work_lease_s)
    if claimed is None or not _download(ctx, claimed):
        # There is nothing to record. Sent all the same, each message that comes twice would make another.
        self.request.chain = None


def _download(ctx: Context, job: Job) -> bool:
    """Whether the outputs of this claimed job are stored now."""
    if job.cancel_requested_at is not None:
        _drop(ctx, job)
        return False
    if job.deaths >= ctx.policy.deaths_most:
        _give_up(ctx, job, "worker_killed", f"{job.deaths} workers did not come back from downloading it")
        return False
    with kept(lambda: _still_mine(ctx, job), ctx.policy.work_lease_s), given_back(ctx, job):
        try:
            stored = _fetch_all(ctx, job)
        except NoRoom as error:
            log.error("disk_low", job_id=job.id, reason=str(error))  # noqa: TRY400 (a state of the disk, no surprise)
            with ctx.ledger.begin("download.given_back") as tx:
                release(tx, job, ctx.policy.handover_s, counted=False)
            return False
        except (MediaError, OSError) as error:
            _not_stored(ctx, job, error)
            return False
        with ctx.ledger.begin("download.stored") as tx:
            # Else it was cancelled meanwhile, or somebody else is at it now.
            moved = move_read(tx, job, Event.STORED, mine=True, lease_s=ctx.policy.handover_s)
            if moved is not None:
                store_outputs(tx, job.id, stored)
    if moved is None:
        return False
    log.info("outputs_stored", job_id=job.id, files=len(stored), size_bytes=sum(o.size_bytes for o in stored))
    # Not shown by itself: what records it, a moment later, shows both.
    return True


@shared_task(name=RECORD, ignore_result=True)
def record(job: str) -> None:
    """Charge a job whose outputs are stored: it is completed."""
    ctx = context.current()
    with ctx.ledger.begin("record") as tx:
        stored = get(tx, job)
        if stored is None or stored.state is not State.RECORDING:
            return
        _charge(tx, stored)
        completed = move_read(tx, stored, Event.CHARGED, lease_s=ctx.policy.handover_s)
    if completed is not None:
        log.info("job_completed", job_id=job)
        ctx.show([job])


def _drop(ctx: Context, job: Job) -> None:
    """End a job that was cancelled just as its provider task ended: paid for, and not delivered."""
    with ctx.ledger.begin("download.given_back") as tx:
        if move(tx, job.id, Event.CANCEL, lease_s=ctx.policy.handover_s) is not None:
            _charge(tx, job)
    ctx.show([job.id])


def _still_mine(ctx: Context, job: Job) -> bool:
    with ctx.ledger.begin("download.renewed") as tx:
        return extend(tx, job, ctx.policy.work_lease_s)


def _fetch_all(ctx: Context, job: Job) -> list[Output]:
    kept = _answer(job).outputs
    # From the second try on the URLs are asked for anew: they may be what failed.
    remote = kept if kept and job.tries == 1 else _refresh(ctx, job) or kept
    if not remote:
        raise FetchRefused("the provider completed the task without an output")
    return [_fetch(ctx, job, index, output) for index, output in enumerate(remote)]


def _fetch(ctx: Context, job: Job, index: int, remote: RemoteOutput) -> Output:
    expected = expected_film(job.request)
    name = f"{job.tenant}/{job.id}/{index}"
    try:
        return ctx.fetcher.keep(remote, name, index, expected)
    except FetchExpired:
        fresh = _refresh(ctx, job)
        if index >= len(fresh):
            raise
        return ctx.fetcher.keep(fresh[index], name, index, expected)


def _refresh(ctx: Context, job: Job) -> tuple[RemoteOutput, ...]:
    """Fresh URLs for the outputs of a completed task: asking again costs nothing, creating again would."""
    provider = ctx.providers.get(job.key_alias or "")
    answer = None if provider is None else provider.poll(job.provider_task_id or "")
    if not isinstance(answer, Completed):
        return ()
    log.info("output_urls_refreshed", job_id=job.id)
    # What it costs was said when it ended; only where that could not be read is a later word of use.
    first = _answer(job)
    fresh = FinalAnswer.of(answer) if first.usage.cost_usd is None else replace(first, outputs=answer.outputs)
    with ctx.ledger.begin("download.refreshed") as tx:
        refresh_answer(tx, job, fresh.to_json())
    return answer.outputs


def _not_stored(ctx: Context, job: Job, error: MediaError | OSError) -> None:
    # An OSError is the local disk's; its text names paths of ours only, but its number is what a person looks up.
    message = str(error) if isinstance(error, MediaError) else f"the store can't be written: {error.strerror}"
    policy = ctx.policy
    verdict = retry_or_give_up(
        refused=isinstance(error, FetchRefused),
        code=type(error).__name__,
        message=message,
        tries=job.tries,
        most=policy.download_tries,
        first_s=policy.download_retry_s,
    )
    log.warning("outputs_not_stored", job_id=job.id, tries=job.tries, reason=message, final=isinstance(verdict, GiveUp))
    if isinstance(verdict, GiveUp):
        _give_up(ctx, job, "output_not_stored", verdict.message)
        return
    with ctx.ledger.begin("download.given_back") as tx:
        release(tx, job, verdict.delay_s)


def _give_up(ctx: Context, job: Job, code: str, message: str) -> None:
    with ctx.ledger.begin("download.given_back") as tx:
        if not extend(tx, job, ctx.policy.work_lease_s):
            return  # somebody else has the job by now, and may have had more luck
        failure = {"error_code": code, "error_message": message, "error_stage": job.state}
        detail = {"tries": job.tries, "code": code}
        moved = move(tx, job.id, Event.UNSTORABLE, lease_s=ctx.policy.handover_s, detail=detail, **failure)
        if moved is not None:
            _charge(tx, moved)  # the provider made it, and bills it, whether or not we could keep it
    ctx.show([job.id])


def _answer(job: Job) -> FinalAnswer:
    if job.answer is None:
        raise ValueError(f"job {job.id} is past its provider's answer without one")
    return FinalAnswer.from_json(job.answer)


def _charge(tx: Transaction, job: Job) -> None:
    answer = _answer(job)
    charge_task(tx, job, answer.usage, answer.metadata)
