"""The live view: which of a job's events it shows when there are many."""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.jobs import JobEvent, JobView, State
from tasks.ledger.views import _EVENTS_SHOWN, _shown

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def events(*names: str) -> list[JobEvent]:
    return [JobEvent(number, name, State.QUEUED, NOW) for number, name in enumerate(names, start=1)]


def test_the_latest_are_shown() -> None:
    many = events("accept", *["admit", "unsent"] * _EVENTS_SHOWN)
    assert _shown(many) == tuple(many[-_EVENTS_SHOWN:])


def test_that_a_job_was_created_anew_is_said_for_good() -> None:
    many = events("accept", "unknown", "anew", *["admit", "unsent"] * _EVENTS_SHOWN, "anew")
    view = JobView("job-1", State.QUEUED, _shown(many))
    assert view.created_anew == 2
    assert view.seq == len(many)


def test_few_are_all_shown() -> None:
    few = events("accept", "admit")
    assert _shown(few) == tuple(few)
