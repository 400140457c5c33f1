"""Sends the messages between the steps. Each is a hint to look at a job and carries its id only; none is trusted.

A message that can't be sent is logged and forgotten: the ledger knows what is to be done, and the sweep sends another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog
from celery import chain, current_app
from celery.canvas import Signature
from kombu.exceptions import OperationalError

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


def hint_create(job: Job) -> bool:
    """Have the job's provider task created; whether the message was sent."""
    return _send("create", job, lambda: _step(CREATE, job).apply_async(retry=False))


def hint_finish(job: Job) -> None:
    """Have the job's outputs downloaded and then its cost recorded: the completion chain."""
    _send("download", job, lambda: chain(_step(DOWNLOAD, job), _step(RECORD, job)).apply_async(retry=False))


def hint_record(job: Job) -> None:
    """Have the job's cost recorded: its outputs are stored already."""
    _send("record", job, lambda: _step(RECORD, job).apply_async(retry=False))


def _step(name: str, job: Job) -> Signature:
    # The job's id as root id lets Flower and logs follow a job through all its tasks. What Flower shows is said here,
    # as a Python literal, because that is what its search can read (`kwargs:job=...`).
    shown = {"job": job.id, "model": job.model, "seconds": job.duration_s, "resolution": job.resolution}
    step: Signature = current_app.signature(
        name, kwargs={"job": job.id}, immutable=True, root_id=job.id, argsrepr="()", kwargsrepr=repr(shown)
    )
    return step


def _send(step: str, job: Job, send: Callable[[], Any]) -> bool:
    try:
        failpoint(f"{step}.before_publish")
        send()
        failpoint(f"{step}.after_publish")
    except OperationalError as error:
        log.warning("hint_not_sent", job_id=job.id, state=job.state, error=type(error).__name__)
        return False
    return True
