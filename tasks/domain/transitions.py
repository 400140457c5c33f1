"""The state table: which event leads from which state to which. Owns the order of things in a job's life.

`tasks.ledger.jobs` applies it as a compare-and-set; nothing else may change a state. Terminal states absorb: only what
a person asks for leads out of one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from schemas.jobs import TERMINAL, State


class Event(StrEnum):
    """What can happen to a job. The words stand in the timeline, in the live view and in logs."""

    ACCEPT = "accept"
    """The request was committed. Only ever the first row of a timeline."""
    ADMIT = "admit"
    """A slot was free and it was the job's turn."""
    BEGIN = "begin"
    """An attempt was committed; from here on a provider task may exist."""
    ACCEPTED = "accepted"
    """The provider gave a task id."""
    REJECTED = "rejected"
    """The provider refused the request for good."""
    UNSENT = "unsent"
    """Provably nothing was created: not sent, throttled, or the key was refused."""
    UNKNOWN = "unknown"
    """The outcome of the create is not known."""
    COMPLETED = "completed"
    """The provider completed the task; outputs and usage are committed."""
    FAILED = "failed"
    """The provider failed the task."""
    STORED = "stored"
    """All outputs are in the store."""
    UNSTORABLE = "unstorable"
    """An output can't be had or kept, for good."""
    CHARGED = "charged"
    """The charge is committed."""
    EXPIRE = "expire"
    """The deadline passed before anything was sent."""
    REFUSE = "refuse"
    """Its budget is used up, or it costs more than its owner is willing to pay; nothing was sent."""
    CANCEL = "cancel"
    """Nobody wants the output any more: nothing was sent, or the provider task has ended and its cost is recorded."""
    LOST = "lost"
    """The provider says it has no such task, and has said so for too long."""
    WRITE_OFF = "write_off"
    """An operator says that what may have been created will never be known."""
    ANEW = "anew"
    """An operator, or a policy that somebody chose, asks for another create: it can cost twice."""
    REQUEUE = "requeue"
    """An operator has a job tried again of which nothing was ever created."""
    REFETCH = "refetch"
    """An operator has outputs downloaded again."""
    HELD = "held"
    """The ledger was restored from a backup, which does not know what was created since: this job may have been."""


TABLE: Final[dict[tuple[State, Event], State]] = {
    (State.QUEUED, Event.ADMIT): State.ADMITTED,
    (State.QUEUED, Event.EXPIRE): State.FAILED,
    (State.QUEUED, Event.REFUSE): State.FAILED,
    (State.QUEUED, Event.CANCEL): State.CANCELLED,
    (State.ADMITTED, Event.BEGIN): State.CREATING,
    (State.ADMITTED, Event.UNSENT): State.QUEUED,
    (State.ADMITTED, Event.REJECTED): State.FAILED,
    (State.ADMITTED, Event.CANCEL): State.CANCELLED,
    (State.CREATING, Event.ACCEPTED): State.GENERATING,
    (State.CREATING, Event.REJECTED): State.FAILED,
    (State.CREATING, Event.UNSENT): State.QUEUED,
    (State.CREATING, Event.UNKNOWN): State.UNCERTAIN,
    # The answer of an attempt that was given up (its worker slept beyond the deadline): the outcome is known after all.
    (State.UNCERTAIN, Event.ACCEPTED): State.GENERATING,
    (State.UNCERTAIN, Event.REJECTED): State.FAILED,
    (State.UNCERTAIN, Event.UNSENT): State.QUEUED,
    (State.UNCERTAIN, Event.WRITE_OFF): State.FAILED,
    (State.UNCERTAIN, Event.ANEW): State.QUEUED,
    # The same, when another create was asked for and has not begun: it is not needed any more.
    (State.QUEUED, Event.ACCEPTED): State.GENERATING,
    (State.ADMITTED, Event.ACCEPTED): State.GENERATING,
    (State.GENERATING, Event.COMPLETED): State.DOWNLOADING,
    (State.GENERATING, Event.FAILED): State.FAILED,
    (State.GENERATING, Event.CANCEL): State.CANCELLED,
    (State.GENERATING, Event.LOST): State.UNCERTAIN,
    (State.DOWNLOADING, Event.STORED): State.RECORDING,
    (State.DOWNLOADING, Event.UNSTORABLE): State.FAILED,
    (State.DOWNLOADING, Event.CANCEL): State.CANCELLED,
    (State.RECORDING, Event.CHARGED): State.COMPLETED,
    (State.FAILED, Event.REQUEUE): State.QUEUED,
    (State.FAILED, Event.REFETCH): State.DOWNLOADING,
    (State.FAILED, Event.ANEW): State.QUEUED,
    (State.QUEUED, Event.HELD): State.UNCERTAIN,
    (State.ADMITTED, Event.HELD): State.UNCERTAIN,
    (State.CREATING, Event.HELD): State.UNCERTAIN,
    # A person, or a policy, may have had it created anew since.
    (State.UNCERTAIN, Event.HELD): State.UNCERTAIN,
}

ASKED_FOR: Final = frozenset({Event.WRITE_OFF, Event.ANEW, Event.REQUEUE, Event.REFETCH, Event.HELD})
"""Events that only a person, or a policy that a person chose, brings about."""

HOLDS_SLOT: Final = frozenset({State.ADMITTED, State.CREATING, State.UNCERTAIN, State.GENERATING})
"""States in which the provider has, or may have, an open task of ours: each such job counts against its key's limit."""

LEASED: Final = frozenset(set(State) - {State.QUEUED})
"""States that something has to follow: work, a place on the timetable, or (at rest) only that those who wait are told.

Whoever moves a job there is to see to it; when the lease runs out, the sweep makes sure that it happened."""

OPEN: Final = frozenset(set(State) - TERMINAL)


def next_state(state: State, event: Event) -> State | None:
    """The state that `event` leads to from `state`; `None` when the event means nothing there (any more)."""
    return TABLE.get((state, event))
