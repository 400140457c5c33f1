"""What admission needs to know, and what it leaves behind: open tasks, waiting lines, and each tenant's turns.

Every query here takes as long as what is open and what is looked at, however many jobs have ended or wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from schemas.jobs import State
from tasks.domain.admission import Line

from .database import Transaction
from .tables import IS_OPEN, IS_QUEUED, jobs, tenants

_this: Final = sa.bindparam
# Between admission and a task's id: what a key whose probe is under way has to wait for.
_BEGINNING: Final = (State.ADMITTED, State.CREATING)
_HOLDING_SLOTS: Final = (*_BEGINNING, State.GENERATING)
_LATELY_UNCERTAIN: Final = (jobs.c.state == State.UNCERTAIN) & (jobs.c.changed_at > _this("uncertain_since"))


def _count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)


_OPEN: Final = (
    sa.select(
        jobs.c.key_alias,
        jobs.c.tenant,
        _count(jobs.c.state.in_(_HOLDING_SLOTS) | _LATELY_UNCERTAIN).label("tasks"),
        _count(jobs.c.state.in_(_BEGINNING)).label("beginning"),
        sa.func.coalesce(sa.func.sum(jobs.c.hold_usd), sa.literal(0, type_=jobs.c.hold_usd.type)).label("held_usd"),
    )
    .where(IS_OPEN)
    .group_by(jobs.c.key_alias, jobs.c.tenant)
)

# From tenant to tenant by one look into the index each: a query that groups would pass over every waiting job.
_first: Final = sa.select(sa.func.min(jobs.c.tenant).label("tenant")).where(IS_QUEUED)
_walk: Final = _first.cte("lines", recursive=True)
_next: Final = sa.select(sa.func.min(jobs.c.tenant)).where(IS_QUEUED, jobs.c.tenant > _walk.c.tenant)
_waiting_tenants: Final = _walk.union_all(sa.select(_next.scalar_subquery()).where(_walk.c.tenant.is_not(None)))
_LINES: Final = (
    sa.select(_waiting_tenants.c.tenant, tenants.c.weight, tenants.c.tag, tenants.c.open_limit)
    .select_from(_waiting_tenants.outerjoin(tenants, tenants.c.name == _waiting_tenants.c.tenant))
    .where(_waiting_tenants.c.tenant.is_not(None))
)
_PLACES: Final = (jobs.c.turn_at.asc().nulls_first(), jobs.c.priority, jobs.c.accepted_at, jobs.c.id)
_LINE: Final = (
    sa.select(*jobs.c["id", "model", "resolution", "duration_s", "estimate_usd", "max_cost_usd", "accepted_at"])
    .where(
        IS_QUEUED,
        jobs.c.tenant == _this("of_tenant"),
        jobs.c.not_before.is_(None) | (jobs.c.not_before <= _this("now")),
        jobs.c.deadline_at.is_(None) | (jobs.c.deadline_at > _this("now")),
    )
    .order_by(*_PLACES)
    .limit(_this("most"))
    .offset(_this("skipped"))
)
_ANY_WAITING: Final = sa.select(sa.exists().where(IS_QUEUED).select_from(jobs))
_LAST_TAG: Final = sa.select(sa.func.max(tenants.c.tag))
_EXPIRED: Final = sa.select(jobs.c.id).where(IS_QUEUED, jobs.c.deadline_at <= _this("now")).limit(_this("most"))


@dataclass(frozen=True, slots=True)
class Open:
    """What one tenant has under way with one key: slots taken, of those not begun at the provider, and USD held."""

    key_alias: str | None
    tenant: str
    tasks: int
    beginning: int
    held_usd: Decimal


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job in its tenant's line, with what its cost depends on. `waited_s`: since it was accepted."""

    id: str
    model: str
    resolution: str | None
    duration_s: int | None
    estimate_usd: Decimal
    max_cost_usd: Decimal | None
    waited_s: float


def open_tasks(tx: Transaction, uncertain_s: float) -> list[Open]:
    """What is under way, by key and tenant: counted from rows, so that neither a slot nor a hold can leak.

    An uncertain job holds its slot for `uncertain_s` seconds: what it may have open at the provider has ended by then.
    What is held for it in the budgets stays until it is resolved.
    """
    found = tx.execute(_OPEN, {"uncertain_since": tx.now - timedelta(seconds=uncertain_s)})
    return [Open(row.key_alias, row.tenant, row.tasks, row.beginning, row.held_usd) for row in found]


def held_by_tenant(under_way: Sequence[Open]) -> dict[str, Decimal]:
    """USD held for each tenant's jobs under way."""
    held: dict[str, Decimal] = {}
    for each in under_way:
        held[each.tenant] = held.get(each.tenant, Decimal(0)) + each.held_usd
    return held


def lines(tx: Transaction) -> list[tuple[Line, int | None]]:
    """The tenants with waiting jobs, each with the most tasks it may have open (`None`: as many as there are slots)."""
    return [
        (Line(row.tenant, 1.0 if row.weight is None else row.weight, row.tag), row.open_limit)
        for row in tx.execute(_LINES)
    ]


def line_of(tx: Transaction, tenant: str, page: int) -> Iterator[Waiting]:
    """A tenant's jobs whose time has come, in their order; read `page` at a time, as far as they are asked for."""
    skipped = 0
    while True:
        asked = {"of_tenant": tenant, "now": tx.now, "most": page, "skipped": skipped}
        rows = tx.execute(_LINE, asked).all()
        for row in rows:
            shape = (row.model, row.resolution, row.duration_s)
            waited_s = (tx.now - row.accepted_at).total_seconds()
            yield Waiting(row.id, *shape, row.estimate_usd, row.max_cost_usd, waited_s)
        skipped += len(rows)
        if len(rows) < page:
            return


def anything_waits(tx: Transaction) -> bool:
    """Whether any job is queued."""
    return bool(tx.execute(_ANY_WAITING).scalar())


def last_tag(tx: Transaction) -> float:
    """The tag of the last turn of all."""
    return tx.execute(_LAST_TAG).scalar() or 0.0


@dataclass(frozen=True, slots=True)
class TurnsTaken:
    """What a round of turns leaves of a tenant: its tag, and the seconds from turn to turn."""

    tenant: str
    tag: float
    turn_gap_s: float


def last_turns(tx: Transaction, names: Sequence[str]) -> dict[str, tuple[float | None, float | None]]:
    """Of these tenants, those that had a turn: seconds since the last, and from turn to turn."""
    columns = tenants.c["name", "last_turn_at", "turn_gap_s"]
    found = tx.execute(sa.select(*columns).where(tenants.c.name.in_(names), tenants.c.last_turn_at.is_not(None)))
    return {row.name: ((tx.now - row.last_turn_at).total_seconds(), row.turn_gap_s) for row in found}


def keep_turns(tx: Transaction, taken: Sequence[TurnsTaken]) -> None:
    """Write what a round of turns leaves behind."""
    for each in sorted(taken, key=lambda one: one.tenant):
        values: dict[str, Any] = {"tag": each.tag, "last_turn_at": tx.now, "turn_gap_s": each.turn_gap_s}
        tx.put(tenants, {"name": each.tenant}, values)


def set_tenant(tx: Transaction, tenant: str, **values: Any) -> None:
    """Change what a person sets of a tenant: `weight`, `open_limit`, `jobs_limit`, `requests_per_minute`."""
    tx.put(tenants, {"name": tenant}, values)


def expired(tx: Transaction, limit: int) -> list[str]:
    """Ids of queued jobs whose deadline has passed before anything was sent."""
    return list(tx.execute(_EXPIRED, {"now": tx.now, "most": limit}).scalars())
