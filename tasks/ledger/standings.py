"""Reads for people how admission stands: the lines of those that wait, tenants, keys and budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa

from tasks.domain.budgets import EVERYONE, Budget
from tasks.domain.pace import ProviderKey
from tasks.domain.pauses import Pause

from .admission import held_by_tenant, open_tasks
from .database import Transaction
from .pauses import paused_now
from .provider_keys import known_keys
from .spending import budgets_now
from .tables import provider_keys, tenants
from .waiting import waiting_lines


@dataclass(frozen=True, slots=True)
class TenantStanding:
    """One tenant. `last_starts_in_s`: when the last of those that wait is likely to have its turn; `None` where that is
    not known, and while a pause lets none of them start."""

    tenant: str
    weight: float
    open_limit: int | None
    jobs_limit: int | None
    requests_per_minute: float | None
    waiting: int
    oldest_accepted_at: datetime | None
    open_tasks: int
    held_usd: Decimal
    turn_gap_s: float | None
    last_starts_in_s: float | None


@dataclass(frozen=True, slots=True)
class KeyStanding:
    """One provider key: its limits, what it has open, and what stands in its way. `open_limit` as it is in force."""

    key: ProviderKey
    configured: bool
    open_limit: int
    open_tasks: int
    pace_per_minute: float | None
    """Creates a minute that are allowed now; `None`: no limit."""
    paused: bool
    closed: Pause | None
    """By a person, where that holds now."""


def tenant_standings(tx: Transaction, uncertain_s: float, *, waiting_only: bool = False) -> list[TenantStanding]:
    """Every tenant that waits, has something open, or has settings of its own; those that wait longest first."""
    waiting = {line.tenant: line for line in waiting_lines(tx)}
    rows = {row.name: row for row in tx.execute(sa.select(tenants))}
    under_way = open_tasks(tx, uncertain_s)
    paused = paused_now(tx)
    names = set(waiting) if waiting_only else {*waiting, *rows, *(each.tenant for each in under_way)}
    found = []
    for name in names:
        line, row = waiting.get(name), rows.get(name)
        mine = [each for each in under_way if each.tenant == name]
        count = 0 if line is None else line.waiting
        gap_s = None if row is None else row.turn_gap_s
        found.append(
            TenantStanding(
                tenant=name,
                weight=1.0 if row is None else row.weight,
                open_limit=None if row is None else row.open_limit,
                jobs_limit=None if row is None else row.jobs_limit,
                requests_per_minute=None if row is None else row.requests_per_minute,
                waiting=count,
                oldest_accepted_at=None if line is None else line.oldest_accepted_at,
                open_tasks=sum(each.tasks for each in mine),
                held_usd=sum((each.held_usd for each in mine), Decimal(0)),
                turn_gap_s=gap_s,
                last_starts_in_s=None if gap_s is None or not count or {EVERYONE, name} & paused else count * gap_s,
            )
        )
    return sorted(found, key=lambda each: (-each.waiting, each.tenant))


def key_standings(tx: Transaction, configured: Sequence[str], open_limit: int, uncertain_s: float) -> list[KeyStanding]:
    """The keys that are configured here, and those that have a row. `open_limit`: where a key has none of its own."""
    rows = tx.execute(sa.select(provider_keys.c.alias)).scalars()
    names = sorted({*configured, *rows})
    under_way = open_tasks(tx, uncertain_s)
    found = []
    for key in known_keys(tx, names):
        pace = key.pace_per_minute(tx.now)
        found.append(
            KeyStanding(
                key=key,
                configured=key.alias in configured,
                open_limit=open_limit if key.open_limit is None else key.open_limit,
                open_tasks=sum(each.tasks for each in under_way if each.key_alias == key.alias),
                pace_per_minute=None if pace == float("inf") else pace,
                paused=key.is_paused(tx.now),
                closed=key.pause_by_person(tx.now),
            )
        )
    return found


def budget_standings(tx: Transaction, uncertain_s: float) -> list[Budget]:
    """All budgets with what is used of each now, the whole house's first."""
    found = budgets_now(tx, held_by_tenant(open_tasks(tx, uncertain_s)))
    return sorted(found, key=lambda each: (each.tenant, each.period))
