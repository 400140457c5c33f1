"""Has Flower show the jobs that failed, and why: an event of Celery's under the job's id, as its result record has it.

A provider's refusal, a budget, a deadline are answers like any other: the task or the lane that got one has done its
work, and no task is left whose failure would say what became of the job. A job that was tried again and completed is
told too, so that no failure stays that is none any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from schemas.jobs import JobView, State

log = structlog.get_logger("reelworks.tasks")

JOB: Final = "reelworks.job"
"""What Flower names such a job by, where it has a task's name. There is no such task."""


class JobEvents:
    """Sends the events of one worker, in whichever of its threads and processes it is asked to."""

    def __init__(self, app: Celery, node: str) -> None:
        """`node`: the worker's node name. Under another one Flower would show a worker more."""
        self._app, self._node = app, node

    def tell(self, views: Sequence[JobView]) -> None:
        """Send an event for each of these jobs that has to be told, all in one message.

        Flower is a view: when the broker can't be reached, work goes on.
        """
        events = [event for view in views if (event := _event(view)) is not None]
        if not events:
            return
        try:
            with self._app.events.default_dispatcher(hostname=self._node) as dispatcher:
                dispatcher.buffer_group = frozenset({"task"})
                for kind, fields in events:
                    dispatcher.send(kind, **fields)
                dispatcher.flush(errors=False)
        except (OperationalError, RedisError, OSError) as error:
            log.warning("job_events_not_sent", jobs=len(events), error=type(error).__name__)


def _event(view: JobView) -> tuple[str, Mapping[str, Any]] | None:
    """The kind and the fields of a job's event; `None` for a job that Flower need not be told of."""
    if not view.events:
        return None
    # Two instants of the job's own: told again, it is shown as what it was.
    fields = {
        "uuid": view.job_id,
        "name": JOB,
        "args": "()",
        # A literal, as the repr of a message's arguments is: the search and the columns read it alike.
        "kwargs": repr({"job": view.job_id, "model": view.model}),
        "received": view.events[0].at.timestamp(),
    }
    ended_at = view.events[-1].at.timestamp()
    # Kinds that Celery has not, which it takes for names of states. By its own two, Flower would count a task that
    # failed at a worker, and once more whenever it is told again.
    if view.state is State.FAILED:
        return "task-failure", {**fields, "failed": ended_at, "exception": _reason(view)}
    if view.state is State.COMPLETED and any(event.state is State.FAILED for event in view.events):
        return "task-success", {**fields, "succeeded": ended_at, "failed": None, "exception": None}
    return None


def _reason(view: JobView) -> str:
    """Why a job failed, made fit for people before it was stored: without what is secret, and short."""
    code, stage = view.error_code or "unknown", view.error_stage or "unknown stage"
    return f"{view.error_message or 'The job failed.'} [{code}, {stage}]"
