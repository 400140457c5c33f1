"""Sends the messages between the steps. Each is a hint to look at a job and carries its id only; none is trusted.

A message that can't be sent is logged and forgotten: the ledger knows what is to be done, and the sweep sends another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import structlog
from celery import current_app
from celery.canvas import Signature
from kombu import Producer
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


def hint_create(jobs: Sequence[Job]) -> bool:
    """Have the jobs' provider tasks created; whether the messages were sent."""
    return _send("create", jobs, lambda job, producer: _publish(_step(CREATE, job), producer))


def hint_finish(jobs: Sequence[Job]) -> bool:
    """Have the jobs' outputs downloaded and then their cost recorded: the completion chain."""
    return _send("download", jobs, lambda job, producer: _publish(_step(DOWNLOAD, job), producer, _step(RECORD, job)))


def hint_record(jobs: Sequence[Job]) -> bool:
    """Have the jobs' cost recorded: their outputs are stored already."""
    return _send("record", jobs, lambda job, producer: _publish(_step(RECORD, job), producer))


def _step(name: str, job: Job) -> Signature:
    # The job's id as root id lets Flower and logs follow a job through all its tasks. What Flower shows is said here,
    # as a Python literal, because that is what its search can read (`kwargs:job=...`).
    shown = {"job": job.id, "model": job.model, "seconds": job.duration_s, "resolution": job.resolution}
    step: Signature = current_app.signature(
        name, kwargs={"job": job.id}, immutable=True, root_id=job.id, argsrepr="()", kwargsrepr=repr(shown)
    )
    return step


def _publish(step: Signature, producer: Producer, *following: Signature) -> None:
    # What follows goes in the message of the first: what `celery.chain` comes to, without its copies.
    step.apply_async(producer=producer, retry=False, chain=list(following) or None)


def _send(step: str, jobs: Sequence[Job], publish: Callable[[Job, Producer], None]) -> bool:
    """Send a message for each job, all of them in one go."""
    if not jobs:
        return True
    try:
        with current_app.producer_or_acquire() as producer, producer.batch():
            for job in jobs:
                failpoint(f"{step}.before_publish")
                publish(job, producer)
        failpoint(f"{step}.after_publish")
    except (OperationalError, BatchPublishError) as error:
        log.warning("hints_not_sent", step=step, jobs=len(jobs), error=type(error).__name__)
        return False
    return True
