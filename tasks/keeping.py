"""Keeps the lease of a claimed job while a long piece of work goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from tasks.context import Context
from tasks.domain.job import Job
from tasks.ledger import LedgerError
from tasks.ledger.jobs import extend

log = structlog.get_logger("reelworks.tasks")


@contextmanager
def kept_lease(ctx: Context, job: Job) -> Iterator[None]:
    """Renew the job's lease three times a lease, in a thread of its own, for as long as the block runs.

    When the process dies, the lease runs out and somebody else takes the job; when it only slept, the work that it
    finishes late changes nothing, because the state was compared and set by then.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_renew, args=(ctx, job, ended), name=f"lease-{job.id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _renew(ctx: Context, job: Job, ended: threading.Event) -> None:
    while not ended.wait(ctx.policy.work_lease_s / 3):
        try:
            with ctx.ledger.begin() as tx:
                held = extend(tx, job, ctx.policy.work_lease_s)
        except LedgerError as error:
            log.warning("lease_not_renewed", job_id=job.id, error=type(error).__name__)
            continue
        if not held:
            return  # the job has moved on; the work that is under way will find that out when it commits
