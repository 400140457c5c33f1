"""Whose turn it is: which waiting jobs take the free slots, and which are refused. Pure; refuses SQL and clocks.

Tenants take turns by start tags (start-time fair queueing; Goyal, Vin and Cheng, 1996): each turn moves a tenant's tag
on by one over its weight, and the lowest tag goes next. A tenant that comes, or comes back, begins at the tag of the
last turn: it has saved nothing up, and waits for no more than one turn of each other tenant.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from .budgets import Purse, Refused, Waits


@dataclass(frozen=True, slots=True)
class Line:
    """A tenant with waiting jobs. `tag`: of its last turn, `None` before the first. `room`: tasks it may yet open."""

    tenant: str
    weight: float = 1.0
    tag: float | None = None
    room: int | None = None
    """`None`: as many as there are slots."""


@dataclass(frozen=True, slots=True)
class WaitingJob:
    """A job at its place in its tenant's line. `cost_usd` is what it is expected to cost at most."""

    id: str
    cost_usd: Decimal
    max_cost_usd: Decimal | None = None
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One admission: this job may create its provider task with this key, and with no other.

    `hold_usd` is held for it; `tag` is its tenant's from now on.
    """

    job_id: str
    key_alias: str
    tenant: str = ""
    hold_usd: Decimal = Decimal(0)
    tag: float = 0.0
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A job that fails before anything is sent. `reason` is a sentence for its owner."""

    job_id: str
    code: str
    reason: str


def next_turns(
    lines: Iterable[Line],
    jobs_of: Callable[[str], Iterator[WaitingJob]],
    free: Mapping[str, int],
    purse: Purse,
    last_tag: float = 0.0,
    most: int = 1_000,
) -> list[Turn | Refusal]:
    """Give the free slots (by key) to waiting jobs, in the order of their turns.

    `jobs_of` gives a tenant's jobs in their order, and is asked for no more than are looked at. `last_tag` is the tag
    of the last turn of all. Work conserving: a slot stays free only when no job is left that may take it, or `most`
    decisions have been made. A tenant whose next job has to wait for a budget waits with all that is behind it: a
    cheaper one would pass it by, and another, for ever.
    """
    left = {alias: slots for alias, slots in sorted(free.items()) if slots > 0}
    waiting = [_Place.of(line, last_tag) for line in lines if line.room is None or line.room > 0]
    heapq.heapify(waiting)
    jobs = {place.line.tenant: jobs_of(place.line.tenant) for place in waiting}
    decided: list[Turn | Refusal] = []
    while left and waiting and len(decided) < most:
        place = waiting[0]
        job = next(jobs[place.line.tenant], None)
        verdict = None if job is None else _judge(job, place.line.tenant, purse)
        if job is None or isinstance(verdict, Waits):
            heapq.heappop(waiting)
        elif isinstance(verdict, Refusal):
            decided.append(verdict)
        else:
            purse.hold(place.line.tenant, job.cost_usd)
            decided.append(Turn(job.id, _take(left), place.line.tenant, job.cost_usd, place.tag, job.waited_s))
            after = place.after_turn()
            if after is None:
                heapq.heappop(waiting)
            else:
                heapq.heapreplace(waiting, after)
    return decided


def _judge(job: WaitingJob, tenant: str, purse: Purse) -> Refusal | Waits | None:
    if job.max_cost_usd is not None and job.cost_usd > job.max_cost_usd:
        sentence = f"It may cost {job.cost_usd} USD, above its max_cost_usd of {job.max_cost_usd}; nothing was sent."
        return Refusal(job.id, "max_cost_exceeded", sentence)
    verdict = purse.judge(tenant, job.cost_usd)
    if isinstance(verdict, Refused):
        reason = verdict.reason[0].upper() + verdict.reason[1:]
        return Refusal(job.id, "budget_used_up", f"{reason}; nothing was sent and nothing was paid.")
    return verdict


def _take(left: dict[str, int]) -> str:
    """Take a slot of the key with the most left."""
    alias = max(left, key=lambda name: left[name])
    left[alias] -= 1
    if not left[alias]:
        del left[alias]
    return alias


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    """A line's place among the lines: the lowest tag goes next; of equal ones, who had no turn for longer."""

    tag: float
    last: float
    tenant: str
    line: Line = field(compare=False)
    taken: int = field(default=0, compare=False)

    @classmethod
    def of(cls, line: Line, last_tag: float) -> _Place:
        if line.tag is None:
            return cls(last_tag, float("-inf"), line.tenant, line)
        return cls(max(last_tag, line.tag + 1 / line.weight), line.tag, line.tenant, line)

    def after_turn(self) -> _Place | None:
        """Its place once it had its turn; `None` when it may open no more tasks."""
        taken = self.taken + 1
        if self.line.room is not None and taken >= self.line.room:
            return None
        return _Place(self.tag + 1 / self.line.weight, self.tag, self.tenant, self.line, taken)
