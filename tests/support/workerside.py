"""What workers do in Redis for producers, played by a test: they find what was submitted, and publish views of jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from schemas import keys
from schemas.jobs import JobEvent, JobView, State
from schemas.records import encode_record
from tests.support.requests import MODEL
from tests.support.valkey import Valkey

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STORY = (State.QUEUED, State.ADMITTED, State.CREATING, State.GENERATING, State.DOWNLOADING, State.COMPLETED)


def entries(valkey: Valkey) -> list[dict[str, str]]:
    """What stands in the stream of requests."""
    found: Any = valkey.client.xrange(keys.REQUESTS)
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in found]


def job_view(job_id: str, *states: State, **fields: Any) -> JobView:
    """The view of a job that has gone through these states, each a second after the one before."""
    events = tuple(JobEvent(n, f"to_{s.value}", s, START + timedelta(seconds=n)) for n, s in enumerate(states))
    return JobView(job_id=job_id, state=states[-1], events=events, model=MODEL, **fields)


def publish(valkey: Valkey, view: JobView, *, tell: bool = True) -> None:
    """Write a view; and tell those who listen, unless nobody is to hear of it."""
    record = encode_record(view)
    valkey.client.set(keys.view(view.job_id), record)
    if tell:
        valkey.client.publish(keys.view(view.job_id), record)


def listeners(valkey: Valkey, job_id: str) -> int:
    """How many connections hear of a job."""
    found: Any = valkey.client.pubsub_numsub(keys.view(job_id))
    return int(found[0][1])
