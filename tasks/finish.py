"""Tasks download and record, the completion chain: files first, then the charge, each committed before the next.

Jobs that completed together come in one message. What holds for a job holds for each of them: one whose film is slow,
broken or not wanted any more holds up none of the others.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import structlog
from celery import Task, shared_task

from schemas.jobs import State
from tasks import context
from tasks.charging import charge_task
from tasks.context import Context
from tasks.domain.figures import DISK_LOW
from tasks.domain.finishing import GiveUp, retry_or_give_up
from tasks.domain.job import Job
from tasks.domain.transitions import Event
from tasks.fetching import Fetched, fetch_together, final_answer
from tasks.hints import DOWNLOAD, RECORD, hint_record
from tasks.keeping import given_back, kept
from tasks.ledger import LedgerError
from tasks.ledger.database import Transaction
from tasks.ledger.deliverables import store_outputs
from tasks.ledger.jobs import lock_many, move, move_read
from tasks.ledger.leases import claim, extend, release
from tasks.media.errors import FetchRefused, MediaError, NoRoom, StoreAway

log = structlog.get_logger("reelworks.finish")


@shared_task(bind=True, name=DOWNLOAD, ignore_result=True)
def download(self: Task[..., Any], job: str, more: Sequence[str] = ()) -> None:
    """Fetch, check and store all outputs of a job, and of `more`."""
    ctx = context.current()
    jobs = sorted({job, *more})  # by id, as everywhere where a transaction changes several jobs
    if not ctx.store.has_room():
        # Nothing is claimed, so no try is counted: the sweep sends another message, and another machine may have room.
        log.error("disk_low", jobs=jobs)
        ctx.pulse.tally.add(DISK_LOW, "download")
        self.request.chain = None
        return
    with ctx.ledger.begin("download.claim") as tx:
        claims = [claim(tx, each, State.DOWNLOADING, ctx.policy.work_lease_s) for each in jobs]
    if not _download(ctx, [claimed for claimed in claims if claimed is not None]):
        # There is nothing to record. Sent all the same, each message that comes twice would make another.
        self.request.chain = None


def _download(ctx: Context, claimed: Sequence[Job]) -> bool:
    """Whether outputs of these claimed jobs are stored now that nobody has been told to record."""
    begun_s = time.monotonic()
    left = {job.id: job for job in claimed}  # what is still to be worked: claims of others are not kept
    stored, failed = [], None
    with kept(lambda: _still_mine(ctx, [*left.values()]), ctx.policy.work_lease_s), given_back(ctx, left.values()):
        for job in claimed:
            if not _is_wanted(ctx, job):
                del left[job.id]
        with closing(fetch_together(ctx, [*left.values()])) as groups:
            for fetched in groups:
                try:
                    with given_back(ctx, [job for job, _ in fetched]):
                        stored = _work(ctx, fetched, begun_s)
                except LedgerError as error:
                    stored, failed = [], error  # the others may have more luck
                for job, _ in fetched:
                    del left[job.id]
                if left or failed is not None:
                    hint_record(stored)  # the chain goes on when the last is here: these need not wait for it
    if failed is not None:
        raise failed
    return bool(stored)


def _is_wanted(ctx: Context, job: Job) -> bool:
    if job.cancel_requested_at is not None:
        _drop(ctx, job)
        return False
    if job.deaths >= ctx.policy.deaths_most:
        _give_up(ctx, job, "worker_killed", f"{job.deaths} workers did not come back from downloading it")
        return False
    return True


def _work(ctx: Context, fetched: Sequence[Fetched], begun_s: float) -> list[Job]:
    """Write down what became of these jobs' outputs; gives those whose outputs are stored now."""
    stored = _store(ctx, fetched, begun_s)
    for job, error in fetched:
        if isinstance(error, Exception):
            _not_fetched(ctx, job, error)
    return stored


def _store(ctx: Context, fetched: Sequence[Fetched], begun_s: float) -> list[Job]:
    """Write down the outputs of those that have them, one commit for all; gives those that are stored now.

    `begun_s`: since when they are at work, on the monotonic clock.
    """
    whole = [(job, outputs) for job, outputs in fetched if isinstance(outputs, list)]
    if not whole:
        return []
    stored = []
    detail = {"took_s": round(time.monotonic() - begun_s, 3)}
    with ctx.ledger.begin("download.stored") as tx:
        for job, outputs in sorted(whole, key=lambda each: each[0].id):
            # Else it was cancelled meanwhile, or somebody else is at it now.
            moved = move_read(tx, job, Event.STORED, mine=True, lease_s=ctx.policy.handover_s, detail=detail)
            if moved is not None:
                store_outputs(tx, job.id, outputs)
                stored.append((job, outputs))
    for job, outputs in stored:
        log.info("outputs_stored", job_id=job.id, files=len(outputs), size_bytes=sum(o.size_bytes for o in outputs))
    # Not shown by themselves: what records them, a moment later, shows both.
    return [job for job, _ in stored]


@shared_task(name=RECORD, ignore_result=True)
def record(job: str, more: Sequence[str] = ()) -> None:
    """Charge a job whose outputs are stored, and `more`: they are completed."""
    ctx = context.current()
    completed = []
    with ctx.ledger.begin("record") as tx:
        for stored in lock_many(tx, [job, *more]):
            if stored.state is not State.RECORDING:
                continue
            if move_read(tx, stored, Event.CHARGED, lease_s=ctx.policy.handover_s) is not None:
                completed.append(stored)
        for paid in sorted(completed, key=lambda one: one.tenant):  # whose sums it changes
            _charge(tx, paid)
    for paid in completed:
        log.info("job_completed", job_id=paid.id)
    ctx.show([paid.id for paid in completed])


def _drop(ctx: Context, job: Job) -> None:
    """End a job that was cancelled just as its provider task ended: paid for, and not delivered."""
    with ctx.ledger.begin("download.given_back") as tx:
        if move(tx, job.id, Event.CANCEL, lease_s=ctx.policy.handover_s) is not None:
            _charge(tx, job)
    ctx.show([job.id])


def _still_mine(ctx: Context, jobs: Sequence[Job]) -> bool:
    with ctx.ledger.begin("download.renewed") as tx:
        renewed = [extend(tx, job, ctx.policy.work_lease_s) for job in jobs]
    return any(renewed)


def _not_fetched(ctx: Context, job: Job, error: Exception) -> None:
    """Give a job back whose outputs could not be stored, or give it up."""
    if isinstance(error, NoRoom):
        log.error("disk_low", job_id=job.id, reason=str(error))
        ctx.pulse.tally.add(DISK_LOW, "download")
        with ctx.ledger.begin("download.given_back") as tx:
            release(tx, job, ctx.policy.handover_s, counted=False)
    elif isinstance(error, StoreAway):
        log.warning("store_away", job_id=job.id, reason=str(error))
        with ctx.ledger.begin("download.given_back") as tx:
            release(tx, job, ctx.policy.handover_s, counted=False)
    elif isinstance(error, MediaError | OSError):
        _not_stored(ctx, job, error)
    elif isinstance(error, LedgerError):
        raise error
    else:
        # What our own code can't take must not hold up the others. The claim runs out: as if the worker had died of it.
        log.error("download_failed", job_id=job.id, exc_info=error)


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


def _charge(tx: Transaction, job: Job) -> None:
    answer = final_answer(job)
    charge_task(tx, job, answer.usage, answer.metadata)
