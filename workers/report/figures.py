"""Sums up jobs one by one: outcomes by day, times, failures, create calls, doubts. Holds none but the latest films'."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Final

from schemas.jobs import State
from tasks.domain.sketch import Sketch, bin_of
from tasks.domain.transitions import Event
from tasks.ledger.facts import JobFacts
from workers.showing.shapes import Phase, lasted, spans

REASONS_MOST: Final = 30
"""So many reasons of failures are named; the rest is summed up."""
_REASONS_KEPT: Final = 1_000
_PARTS: Final = 20
"""Of which the tenth edge is the median, and the last but one what 95 of 100 stay below."""


class Outcome(StrEnum):
    """How a job stands, as far as whoever reads a report cares."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNCERTAIN = "uncertain"
    UNDER_WAY = "under way"


_OUTCOMES: Final = {
    State.COMPLETED: Outcome.COMPLETED,
    State.FAILED: Outcome.FAILED,
    State.CANCELLED: Outcome.CANCELLED,
    State.UNCERTAIN: Outcome.UNCERTAIN,
}
_DOUBT_ENDED: Final = {
    Event.ACCEPTED: "its task was found",
    Event.REJECTED: "the provider had refused it",
    Event.UNSENT: "nothing had been sent",
    Event.WRITE_OFF: "written off",
    Event.ANEW: "created once more, which may have cost twice",
    None: "still uncertain",
}
_CALL_ENDED: Final = {
    "accepted": "accepted",
    "rejected": "refused for good",
    "throttled": "too many at once: tried again, free of cost",
    "unsent": "provably not sent: tried again, free of cost",
    "key_refused": "the key was refused: tried again, free of cost",
    "unknown": "outcome not known",
    None: "never heard of again, or under way",
}


@dataclass(frozen=True, slots=True)
class Times:
    """How long completed jobs were in a phase, in seconds, to 2 %."""

    phase: Phase
    jobs: int
    median_s: float
    p95_s: float


class Tally:
    """What the jobs that were added come to. Its size depends on days and reasons, not on how many jobs there are."""

    def __init__(self, films_most: int) -> None:
        self.jobs = 0
        self.outcomes: Counter[Outcome] = Counter()
        self.by_day: dict[str, Counter[Outcome]] = {}
        """By the day (UTC) on which they were accepted."""
        self.failures: Counter[tuple[str, str]] = Counter()
        """By stage and code."""
        self.calls: Counter[str] = Counter()
        self.tried_again = 0
        """Jobs with more than one create call."""
        self.extra_calls = 0
        self.doubts: Counter[str] = Counter()
        """By how they ended: a job may have been in doubt more than once."""
        self.films: deque[JobFacts] = deque(maxlen=films_most)
        """The latest completed jobs with an output."""
        self._seconds: dict[Phase, Counter[int]] = {}

    def add(self, job: JobFacts) -> None:
        """Add a job that is kept."""
        if job.state is None or job.accepted_at is None:
            return
        outcome = _OUTCOMES.get(job.state, Outcome.UNDER_WAY)
        self.jobs += 1
        self.outcomes[outcome] += 1
        self.by_day.setdefault(job.accepted_at.date().isoformat(), Counter())[outcome] += 1
        self.calls.update(_CALL_ENDED.get(each, str(each)) for each in job.outcomes)
        if len(job.outcomes) > 1:
            self.tried_again += 1
            self.extra_calls += len(job.outcomes) - 1
        self.doubts.update(_doubts(job))
        if outcome is Outcome.FAILED:
            self._add_failure(job)
        if outcome is Outcome.COMPLETED:
            self._add_times(job, job.accepted_at)
            if job.outputs:
                self.films.append(job)

    def _add_failure(self, job: JobFacts) -> None:
        reason = (job.error_stage or "", job.error_code or "")
        if reason not in self.failures and len(self.failures) >= _REASONS_KEPT:
            reason = _OTHERS
        self.failures[reason] += 1

    def _add_times(self, job: JobFacts, otherwise: datetime) -> None:
        for phase, seconds in lasted(spans(job.moments, job.changed_at or otherwise)).items():
            self._seconds.setdefault(phase, Counter())[bin_of(seconds)] += 1

    def times(self) -> list[Times]:
        """Of each phase that a completed job was in."""
        return [_times(phase, self._seconds[phase]) for phase in Phase if phase in self._seconds]

    def reasons(self) -> list[tuple[str, str, int]]:
        """Stage, code and number of the commonest failures, and of all others together (without stage and code)."""
        named = [(reason, count) for reason, count in self.failures.most_common() if reason != _OTHERS]
        shown, rest = named[:REASONS_MOST], sum(count for _, count in named[REASONS_MOST:]) + self.failures[_OTHERS]
        rows = [(stage, code, count) for (stage, code), count in shown]
        return rows + ([(*_OTHERS, rest)] if rest else [])

    def counts_by_day(self) -> Mapping[str, Mapping[str, int]]:
        """Jobs by day and outcome, in the order in which outcomes are drawn."""
        return {day: {str(each): counts[each] for each in Outcome} for day, counts in self.by_day.items()}


_OTHERS: Final = ("", "all others")


def _times(phase: Phase, bins: Counter[int]) -> Times:
    edges = Sketch({bin_: float(count) for bin_, count in bins.items()}).quantiles(_PARTS)
    return Times(phase, sum(bins.values()), round(edges[_PARTS // 2], 3), round(edges[_PARTS - 1], 3))


def _doubts(job: JobFacts) -> list[str]:
    """How each time ended that a job was in doubt."""
    found = [
        _DOUBT_ENDED.get(Event(after.event), after.event)
        for before, after in pairwise(job.moments)
        if before.state is State.UNCERTAIN and after.state is not State.UNCERTAIN
    ]
    return [*found, _DOUBT_ENDED[None]] if job.state is State.UNCERTAIN else found
