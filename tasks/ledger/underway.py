"""Counts what has been begun and has not ended, for whoever waits until nothing is; and what has failed of late.

What it costs depends on what is under way, and on the failures of that time, never on how many jobs there were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa

from schemas.jobs import State
from tasks.domain.knowledge import Kind

from .database import Transaction
from .tables import IS_OPEN, attempts, jobs

# Of what has a time at all. IS NOT NULL would say so, but SQLite then goes through the whole table.
EVER: Final = sa.literal(datetime(1970, 1, 1, tzinfo=UTC))
STRAYS: Final = sa.select(sa.func.count()).select_from(attempts).where(attempts.c.settle_at > EVER)
"""How many provider tasks no job follows, and whose cost is still asked for."""
_FAILED_MOST: Final = 10_000
"""So many failures are counted."""
_BY_STATE: Final = sa.select(jobs.c.state, sa.func.count().label("jobs")).where(IS_OPEN).group_by(jobs.c.state)
_SHAPE: Final = jobs.c["model", "resolution", "duration_s"]
_YOUNGEST: Final = (
    sa.select(*_SHAPE, sa.func.max(jobs.c.generating_at).label("generating_at"))
    .where(IS_OPEN, jobs.c.state == State.GENERATING)
    .group_by(*_SHAPE)
)
_lately: Final = (
    sa.select(jobs.c.error_code)
    .where(jobs.c.state == State.FAILED, jobs.c.changed_at >= sa.bindparam("since"))
    .limit(_FAILED_MOST)
    .subquery()
)
_FAILED: Final = (
    sa.select(_lately.c.error_code, sa.func.count().label("jobs"))
    .group_by(_lately.c.error_code)
    .order_by(sa.func.count().desc(), _lately.c.error_code)
)


@dataclass(frozen=True, slots=True)
class Flight:
    """What is under way. `states`: jobs by state, those that end by themselves. `uncertain` ones wait for a person.

    `strays`: provider tasks that no job follows, and of which it is not known yet how they ended.
    `youngest`: of the generating jobs of each kind, for how many seconds the youngest has been generating.
    """

    states: Mapping[State, int]
    uncertain: int
    strays: int
    youngest: Sequence[tuple[Kind, float]]

    @property
    def jobs(self) -> int:
        """How many they are, whatever their states."""
        return sum(self.states.values())


def in_flight(tx: Transaction) -> Flight:
    """What is under way now."""
    states = {State(row.state): row.jobs for row in tx.execute(_BY_STATE)}
    uncertain = states.pop(State.UNCERTAIN, 0)
    youngest = [
        (Kind(row.model, row.resolution, row.duration_s, row.generating_at.hour), _age_s(tx, row))
        for row in tx.execute(_YOUNGEST)
        if row.generating_at is not None
    ]
    strays = tx.execute(STRAYS).scalar_one()
    return Flight({state: states[state] for state in State if state in states}, uncertain, strays, youngest)


def failed_lately(tx: Transaction, within_s: float) -> dict[str, int]:
    """How many jobs have failed in the last so many seconds, by their error's code, the most frequent first."""
    since = tx.now - timedelta(seconds=within_s)
    return {row.error_code or "failed": row.jobs for row in tx.execute(_FAILED, {"since": since})}


def _age_s(tx: Transaction, row: sa.Row[tuple[object, ...]]) -> float:
    age_s: float = (tx.now - row.generating_at).total_seconds()
    return max(0.0, age_s)
