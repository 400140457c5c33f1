"""Sends the messages between the steps. Each is a hint to look at jobs and carries ids only; none is trusted.

Jobs that completed together go through the completion chain together, a few in a message: what Celery and a commit cost
is then shared. A message that can't be sent is logged and forgotten: the ledger knows what is to be done, and the sweep
sends another, one for each job, so that a job that spoils the work of others does so once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import structlog
from celery import current_app
from celery.canvas import Signature
from kombu.exceptions import BatchPublishError, OperationalError  # type: ignore[attr-defined]  # not in its stubs

from tasks.domain.job import Job
from tasks.failpoints import failpoint

log = structlog.get_logger("reelworks.tasks")

CREATE: Final = "reelworks.create"
DOWNLOAD: Final = "reelworks.download"
RECORD: Final = "reelworks.record"

CREATE_QUEUE: Final = "create"
FINISH_QUEUE: Final = "finish"
RECORD_QUEUE: Final = "record"
"""Of its own, and workers take from both in turn: a job whose film is there waits behind none whose film is to come."""
QUEUES: Final = {CREATE: CREATE_QUEUE, DOWNLOAD: FINISH_QUEUE, RECORD: RECORD_QUEUE}
"""Task -> the queue that its messages wait in."""
LANES_QUEUE: Final = "lanes"
"""Of all other tasks, which are those of lanes."""

TOGETHER_MOST: Final = 8
"""Jobs in one message: what one worker loses when it dies, and fetches at the same time."""
_SHARED_BY: Final = 4
"""Messages that a few jobs are shared out over, before any has two: there may be as many workers without work."""


def hint_create(jobs: Sequence[Job]) -> bool:
    """Have the jobs' provider tasks created; whether the messages were sent."""
    return _send("create", [[job] for job in jobs], CREATE)


def hint_finish(jobs: Sequence[Job]) -> bool:
    """Have the jobs' outputs downloaded and then their cost recorded: the completion chain, for a few in a message."""
    size = min(math.ceil(len(jobs) / _SHARED_BY), TOGETHER_MOST)
    return _send("download", [jobs[start : start + size] for start in range(0, len(jobs), size or 1)], DOWNLOAD, RECORD)


def hint_record(jobs: Sequence[Job]) -> bool:
    """Have the jobs' cost recorded, in one message: their outputs are stored already."""
    return _send("record", [jobs] if jobs else [], RECORD)


def _step(name: str, jobs: Sequence[Job]) -> Signature:
    # The (first) job's id as root id lets Flower and logs follow it through all its tasks. What Flower shows, and what
    # its search finds the others by, is said here, as a Python literal that its format reads.
    job, more = jobs[0], [other.id for other in jobs[1:]]
    names = {"job": job.id, "more": more} if more else {"job": job.id}
    shown = {**names, "model": job.model, "seconds": job.duration_s, "resolution": job.resolution}
    step: Signature = current_app.signature(
        name, kwargs=names, immutable=True, root_id=job.id, argsrepr="()", kwargsrepr=repr(shown)
    )
    return step


def _send(step: str, groups: Sequence[Sequence[Job]], first: str, *following: str) -> bool:
    """Send a message for each group, all of them in one go."""
    if not groups:
        return True
    try:
        with current_app.producer_or_acquire() as producer, producer.batch():
            for jobs in groups:
                failpoint(f"{step}.before_publish")
                # What follows goes in the message of the first: what `celery.chain` comes to, without its copies.
                chain = [_step(name, jobs) for name in following] or None
                _step(first, jobs).apply_async(producer=producer, retry=False, chain=chain)
        failpoint(f"{step}.after_publish")
    except (OperationalError, BatchPublishError) as error:
        log.warning("hints_not_sent", step=step, jobs=sum(map(len, groups)), error=type(error).__name__)
        return False
    return True
