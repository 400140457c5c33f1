"""Removes what is not kept for good, a batch at a time: the files of jobs that ended long ago, later the jobs.

What goes is written down before it is removed, and said to be gone from that moment on: whoever dies in between leaves
no job that promises a file, and no file that nobody will remove. Charges stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from schemas.keys import idempotency
from tasks.context import Context
from tasks.failpoints import failpoint
from tasks.inputs import stored_inputs
from tasks.ledger.retention import (
    Ended,
    Removal,
    claim_removals,
    give_up_files,
    not_removed,
    remove_jobs,
    removed,
    with_files,
    without_files,
)
from tasks.ledger.views import views_of
from tasks.media.store import Removed
from tasks.pulse import PulseError

log = structlog.get_logger("reelworks.prune")

BATCH: Final = 50
"""So many of each at a time: the sweep has jobs to rescue."""
# As many times to live as a lane's turn is kept alive at most: nobody else begins with a batch meanwhile.
_LEASE_TTLS: Final = 10


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed. `jobs_without_files`: of so many jobs files are not kept any more; `jobs`: whole ones."""

    jobs_without_files: int = 0
    files: int = 0
    size_bytes: int = 0
    jobs: int = 0
    more: bool = False
    """Whether there may be more to remove now."""

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(
            self.jobs_without_files + other.jobs_without_files,
            self.files + other.files,
            self.size_bytes + other.size_bytes,
            self.jobs + other.jobs,
            self.more or other.more,
        )


def prune(ctx: Context, outputs_days: float, jobs_days: float) -> Pruned:
    """Remove a batch of what ended more than so many days ago; 0: nothing more than what was given up before.

    Raises `LedgerError`, and `PulseError` before whole jobs are removed.
    """
    given_up = _give_up(ctx, outputs_days) if outputs_days else Pruned()
    gone = _remove_files(ctx)
    jobs = _remove_jobs(ctx, jobs_days) if jobs_days else Pruned()
    pruned = given_up + gone + jobs
    if pruned.jobs_without_files or pruned.files or pruned.jobs:
        log.info(
            "pruned",
            jobs_without_files=pruned.jobs_without_files,
            files=pruned.files,
            size_bytes=pruned.size_bytes,
            jobs=pruned.jobs,
        )
    return pruned


def _give_up(ctx: Context, days: float) -> Pruned:
    with ctx.ledger.begin("prune.files") as tx:
        ended = with_files(tx, days, BATCH)
        give_up_files(tx, ended, [image.name for job in ended for image in stored_inputs(job.request)])
    if ended:
        _correct_views(ctx, [job.id for job in ended])
    return Pruned(jobs_without_files=len(ended), more=len(ended) == BATCH)


def _correct_views(ctx: Context, job_ids: Sequence[str]) -> None:
    with ctx.ledger.read() as tx:
        views = [view for view in views_of(tx, job_ids) if view.outputs]
    try:
        ctx.pulse.views.correct(views)
    except PulseError as error:
        log.warning("view_not_published", jobs=len(views), error=type(error).__name__)


def _remove_files(ctx: Context) -> Pruned:
    """Remove what was given up from the store. While the store can't do it nothing else is tried."""
    lease_s = _LEASE_TTLS * ctx.policy.lane_ttl_s
    with ctx.ledger.begin("prune.claim") as tx:
        claimed = claim_removals(tx, BATCH, lease_s)
    if not claimed:
        return Pruned()
    failpoint("prune.before_remove")
    results = list(ctx.threads.map(lambda removal: _remove(ctx, removal), claimed))
    failpoint("prune.after_remove")
    done = [(removal, result) for removal, result in zip(claimed, results, strict=True) if isinstance(result, Removed)]
    failed = [removal.name for removal, result in zip(claimed, results, strict=True) if isinstance(result, OSError)]
    with ctx.ledger.begin("prune.removed") as tx:
        removed(tx, [removal.name for removal, _ in done])
        not_removed(tx, failed, lease_s)
    if failed:
        error = next(result for result in results if isinstance(result, OSError))
        log.warning("files_not_removed", count=len(failed), reason=error.strerror or str(error))
    return Pruned(
        files=sum(result.files for _, result in done),
        size_bytes=sum(result.size_bytes for _, result in done),
        more=len(claimed) == BATCH and not failed,
    )


def _remove(ctx: Context, removal: Removal) -> Removed | OSError:
    try:
        if removal.tenant is not None and removal.job_id is not None:
            return ctx.store.remove_outputs(removal.tenant, removal.job_id)
        return ctx.store.remove_input(*removal.picture)
    except OSError as error:
        return error


def _remove_jobs(ctx: Context, days: float) -> Pruned:
    """Remove whole jobs. Redis forgets them first: a key that was not freed would swallow its next request for days."""
    with ctx.ledger.read() as tx:
        ended = without_files(tx, days, BATCH)
    if not ended:
        return Pruned()
    ctx.pulse.intake.forget([idempotency(job.tenant, job.idempotency_key) for job in ended if job.idempotency_key])
    ctx.pulse.views.forget([job.id for job in ended])
    with ctx.ledger.begin("prune.removed") as tx:
        forgotten = {job.id for job in ended}
        gone: list[Ended] = [job for job in without_files(tx, days, BATCH, lock=True) if job.id in forgotten]
        remove_jobs(tx, gone)
    return Pruned(jobs=len(gone), more=len(gone) == BATCH)
