"""Keeps a claim while the work goes on, by renewing its lease, and gives it back when the ledger fails in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress

import structlog

from tasks.context import Context
from tasks.domain.job import Job
from tasks.ledger import LedgerError
from tasks.ledger.leases import release
from tasks.pulse import PulseError

log = structlog.get_logger("reelworks.tasks")


@contextmanager
def kept(renew: Callable[[], bool], lease_s: float) -> Iterator[None]:
    """Call `renew` three times a lease for as long as the block runs, until it says that the lease is lost.

    When the process dies, the lease runs out and somebody else takes over. When it only slept, the work that it
    finishes late changes nothing: whoever commits it finds that the lease is lost.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_keep, args=(renew, lease_s / 3, ended), name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def given_back(ctx: Context, jobs: Collection[Job]) -> Iterator[None]:
    """Give claims back when the ledger fails while the block runs: that is no death of the worker, and not the jobs'
    fault. When anything else goes wrong, and they are several, it is not known whose fault it is: each is then tried by
    itself. Should this fail too, the leases run out.

    `jobs` may change while the block runs: what counts is who is in it at the end.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, LedgerError) or len(jobs) > 1:
            with suppress(LedgerError), ctx.ledger.begin("given_back") as tx:
                for job in sorted(jobs, key=lambda each: each.id):
                    release(tx, job, ctx.policy.handover_s)
        raise


def _keep(renew: Callable[[], bool], every_s: float, ended: threading.Event) -> None:
    while not ended.wait(every_s):
        try:
            if not renew():
                return
        except (LedgerError, PulseError) as error:
            log.warning("lease_not_renewed", error=type(error).__name__)
