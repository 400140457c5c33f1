"""What Flower is told of jobs: read as it reads it, by Celery's own state of a cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from celery import Celery
from celery.events.state import State as Cluster
from celery.events.state import Task
from kombu import Producer
from structlog.testing import capture_logs

from schemas.jobs import JobEvent, JobView, State
from workers.jobevents import JobEvents

ASKED_AT = datetime(2026, 1, 1, tzinfo=UTC)
ENDS = {State.FAILED: "failed", State.COMPLETED: "charged", State.CANCELLED: "cancel", State.GENERATING: "accepted"}
MESSAGE = "The service is overloaded."


class Listener:
    """Takes what is sent to those who watch the work, as Flower's own receiver does."""

    def __init__(self, app: Celery) -> None:
        self.cluster, self.messages = Cluster(), 0
        self.kinds: list[str] = []
        self._connection = app.connection()
        self._receiver = app.events.Receiver(self._connection, handlers={"*": self._take})
        self._queue = self._receiver.queue(self._connection.default_channel)
        self._queue.declare()

    def _take(self, event: dict[str, Any]) -> None:
        self.kinds.append(event["type"])
        self.cluster.event(event)

    def tasks(self) -> dict[str, Task]:
        while (message := self._queue.get()) is not None:
            self.messages += 1
            self._receiver._receive(message.decode(), message)
        return dict(self.cluster.tasks)


@pytest.fixture
def app() -> Iterator[Celery]:
    made = Celery("told", broker="memory://", set_as_current=False)
    yield made
    made.close()


@pytest.fixture
def listener(app: Celery) -> Listener:
    return Listener(app)


def view(*states: State, job_id: str = "job-1", after_s: float = 9, **changes: Any) -> JobView:
    """A job that was accepted, and came to these states, the last of them so long after it was accepted."""
    later = [
        JobEvent(n, ENDS[state], state, ASKED_AT + timedelta(seconds=after_s))
        for n, state in enumerate(states, start=2)
    ]
    events = (JobEvent(1, "accept", State.QUEUED, ASKED_AT), *later)
    error = {"error_code": "overloaded", "error_message": MESSAGE, "error_stage": "generating"}
    given = error if states[-1] is State.FAILED else {}
    return JobView(job_id, states[-1], events, model="hailuo", **{**given, **changes})


def told(app: Celery, listener: Listener, *views: JobView) -> dict[str, Task]:
    JobEvents(app, "lanes@host").tell(views)
    return listener.tasks()


def test_a_failed_job_is_a_failure_under_its_own_id_with_its_reason(app: Celery, listener: Listener) -> None:
    task = told(app, listener, view(State.GENERATING, State.FAILED))["job-1"]
    assert (task.name, task.state) == ("reelworks.job", "FAILURE")
    assert task.exception == "The service is overloaded. [overloaded, generating]"
    assert task.kwargs == "{'job': 'job-1', 'model': 'hailuo'}"


def test_it_is_shown_at_the_worker_that_told_it(app: Celery, listener: Listener) -> None:
    assert told(app, listener, view(State.FAILED))["job-1"].worker.hostname == "lanes@host"


def test_told_later_again_it_failed_when_it_failed(app: Celery, listener: Listener) -> None:
    before = time.time()
    for _ in range(2):
        task = told(app, listener, view(State.FAILED))["job-1"]
    assert (task.received, task.failed) == (ASKED_AT.timestamp(), ASKED_AT.timestamp() + 9)
    assert task.timestamp >= before  # else Celery takes the worker's clock for wrong


def test_it_counts_as_no_failed_task_of_a_worker(app: Celery, listener: Listener) -> None:
    told(app, listener, view(State.FAILED), view(State.FAILED, State.COMPLETED, job_id="job-2"))
    assert len(listener.kinds) == 2
    assert not {"task-failed", "task-succeeded"} & {*listener.kinds}  # those that Flower counts at each worker


def test_a_reason_that_is_missing_is_said_to_be(app: Celery, listener: Listener) -> None:
    failed = view(State.FAILED, error_code=None, error_message=None, error_stage=None)
    assert told(app, listener, failed)["job-1"].exception == "The job failed. [unknown, unknown stage]"


@pytest.mark.parametrize("state", [State.GENERATING, State.COMPLETED, State.CANCELLED])
def test_jobs_that_go_well_cost_no_event(app: Celery, listener: Listener, state: State) -> None:
    assert told(app, listener, view(state), JobView("job-2", State.FAILED)) == {}
    assert listener.messages == 0


def test_a_job_that_was_tried_again_and_completed_is_no_failure_any_more(app: Celery, listener: Listener) -> None:
    told(app, listener, view(State.FAILED))
    task = told(app, listener, view(State.FAILED, State.COMPLETED, after_s=60))["job-1"]
    assert (task.state, task.exception, task.failed) == ("SUCCESS", None, None)
    assert task.succeeded == ASKED_AT.timestamp() + 60


def test_jobs_that_fail_together_are_told_of_together(app: Celery, listener: Listener) -> None:
    found = told(app, listener, *(view(State.FAILED, job_id=f"job-{n}") for n in range(20)))
    assert {task.state for task in found.values()} == {"FAILURE"}
    assert (len(found), listener.messages) == (20, 1)


def test_a_broker_that_is_away_holds_up_nobody(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise redis.ConnectionError

    monkeypatch.setattr(Producer, "publish", away)
    with capture_logs() as lines:
        JobEvents(app, "lanes@host").tell([view(State.FAILED)])
    assert [line["event"] for line in lines] == ["job_events_not_sent"]
