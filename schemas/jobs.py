"""What a job is to those outside: its states, its events, its outputs, and the view that holds them all.

Refuses to know how a job moves from state to state (`tasks.domain.transitions`), and how a view is written down
(`records`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from .errors import JobCancelled, JobFailed


class State(StrEnum):
    """Where a job stands. The database holds these words; the live view shows them in capitals, as Celery does."""

    QUEUED = "queued"
    """Accepted, nothing sent."""
    ADMITTED = "admitted"
    """Slot, turn and budget are taken; nothing sent."""
    CREATING = "creating"
    """An attempt is committed; the request to the provider may or may not have happened."""
    UNCERTAIN = "uncertain"
    """The provider may have accepted a request and no task id is known, or it has lost the task whose id is known."""
    GENERATING = "generating"
    """The provider's task id is known."""
    DOWNLOADING = "downloading"
    """Outputs and usage are committed as the provider gave them."""
    RECORDING = "recording"
    """Files are stored, checksums known."""
    COMPLETED = "completed"
    """All outputs are stored, and what they cost is recorded."""
    FAILED = "failed"
    """It ended without a film; it may have cost something all the same."""
    CANCELLED = "cancelled"
    """Nobody wanted the film any more; what the provider had begun with is paid for."""


TERMINAL: Final = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})
"""A job that stands here has ended: only a person takes a failed one up again."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One row of a job's timeline: the event, the state it led to, and when (aware, UTC)."""

    seq: int
    event: str
    state: State
    at: datetime


@dataclass(frozen=True, slots=True)
class Output:
    """One stored output file. `path` is relative to the store, and empty where the gateway told of the job; `width` and
    `height` are pixels (pictures only)."""

    index: int
    type: str
    path: str
    size_bytes: int
    sha256: str
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    mismatch: str | None = None
    """What differs from what was asked for, in one sentence; `None` when nothing does."""
    kept: bool = True
    """Whether the file is still in the store: it is not kept for good where a retention is set."""


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as those who wait for it see it: all of it derived from the database, so it can be rebuilt at any time."""

    job_id: str
    state: State
    events: tuple[JobEvent, ...] = ()
    """The latest fifty in their order, and before them each that had the job created anew."""
    tenant: str = "default"
    model: str = ""
    outputs: tuple[Output, ...] = ()
    charged_usd: Decimal | None = None
    """US dollars, of all that was created for it; `None` while nothing is charged."""
    charge_estimated: bool = False
    """Whether any of that is the list price, because the provider's own word could not be read."""
    error_code: str | None = None
    error_message: str | None = None
    error_stage: str | None = None
    """The state in which it failed, or `accept` where its request could not be read."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """As the request gave it."""
    turn_at: datetime | None = None
    """While it is queued: its place among its tenant's jobs, the earliest first."""

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self.state in TERMINAL

    @property
    def created_anew(self) -> int:
        """How often the job was created once more by choice: each time may have been paid for in vain."""
        return sum(event.event == "anew" for event in self.events)

    @property
    def seq(self) -> int:
        """How many changes the view knows of: of two views of a job, the one with more is the newer."""
        return self.events[-1].seq if self.events else 0


def completed(view: JobView) -> JobView:
    """The view of a job that has ended. Raises `JobFailed` or `JobCancelled` for one that has no film."""
    if view.state is State.FAILED:
        raise JobFailed(view.job_id, view.error_code or "unknown", view.error_message or "The job failed.")
    if view.state is State.CANCELLED:
        raise JobCancelled(view.job_id)
    return view
