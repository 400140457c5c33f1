"""Reads the ledger for who watches the whole: figures of what waits and is under way, and of money, for `/metrics`.

What a reading costs depends on what waits and is open, and on the days that money was spent, never on how many jobs
have ended: nobody counts those here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import sqlalchemy as sa

from schemas.jobs import State
from tasks.domain.budgets import Budget, Period
from tasks.domain.pace import ProviderKey
from tasks.domain.pauses import Pause, Scope

from .admission import Open, held_by_tenant, open_tasks
from .database import Transaction
from .pauses import pauses_now
from .provider_keys import known_keys
from .spending import budgets_now
from .tables import IS_OPEN, attempts, jobs, provider_keys, spending, webhooks
from .underway import EVER, STRAYS
from .waiting import WaitingLine, waiting_lines

_BY_STATE: Final = (
    sa.select(jobs.c.state, sa.func.count().label("jobs"), sa.func.min(jobs.c.changed_at).label("since"))
    .where(IS_OPEN)
    .group_by(jobs.c.state)
)
_LAPSED: Final = sa.select(sa.func.count()).select_from(jobs).where(jobs.c.lease_until <= sa.bindparam("now"))
_PENDING: Final = sa.select(sa.func.count().label("number"), sa.func.min(webhooks.c.due_at).label("due_at")).where(
    webhooks.c.due_at > EVER
)
_SPENT: Final = sa.select(
    sa.func.coalesce(sa.func.sum(spending.c.amount_usd), sa.literal(0, type_=spending.c.amount_usd.type))
).where(spending.c.day >= sa.bindparam("first_day"))
_USED_DAYS: Final = 30
# From key to key by one look into the index each, however many attempts there are.
_first_key: Final = sa.select(sa.func.min(attempts.c.key_alias).label("alias"))
_walk: Final = _first_key.cte("used", recursive=True)
_next_key: Final = sa.select(sa.func.min(attempts.c.key_alias)).where(attempts.c.key_alias > _walk.c.alias)
_aliases: Final = _walk.union_all(sa.select(_next_key.scalar_subquery()).where(_walk.c.alias.is_not(None)))
_lately: Final = attempts.c.begun_at > sa.bindparam("since")
_USED: Final = sa.select(_aliases.c.alias).where(
    sa.exists().where(attempts.c.key_alias == _aliases.c.alias, _lately).select_from(attempts)
)
_STATEMENT_MS: Final = 5_000
"""Longer than this no statement of a reading may take: whoever watches has given up by then."""


@dataclass(frozen=True, slots=True)
class StateFigures:
    """Jobs in one state that is not an end. `oldest_s`: how long the first of them has been in it; 0 without any."""

    jobs: int = 0
    oldest_s: float = 0.0


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """One provider key. `open_limit` is `None` where none of its own is set."""

    alias: str
    open_tasks: int
    open_limit: int | None
    stopped: bool
    """It takes nothing new now: closed by a person, or paused."""
    closed: bool
    """By a person, where that holds now."""


@dataclass(frozen=True, slots=True)
class LedgerGauges:
    """How things stand at one moment. Ages and delays in seconds, money in USD."""

    states: Mapping[State, StateFigures]
    lines: Sequence[WaitingLine]
    """Who waits, a tenant each."""
    under_way: Sequence[Open]
    keys: Sequence[KeyFigures]
    """Those with a row, and those with something open."""
    pauses: Sequence[Pause]
    """In force, by a person's word."""
    paused: int
    """Queued jobs that wait for the end of these alone: of all, of their tenants, or of every key."""
    budgets: Sequence[Budget]
    spent_usd: Mapping[Period, Decimal]
    lapsed: int
    """Jobs whose lease has run out: the sweep has not come by yet."""
    strays: int
    pending_deliveries: int
    deliveries_late_s: float


def keys_used(tx: Transaction) -> list[str]:
    """The aliases under which something was created in the last 30 days."""
    return list(tx.execute(_USED, {"since": tx.now - timedelta(days=_USED_DAYS)}).scalars())


def ledger_gauges(tx: Transaction, uncertain_s: float) -> LedgerGauges:
    """Read all of it. `uncertain_s`: for how long an uncertain job holds its slot. Raises `LedgerError`."""
    if tx.dialect == "postgresql":
        tx.execute(sa.text(f"SET LOCAL statement_timeout = {_STATEMENT_MS}"))
    now = tx.now
    lines = waiting_lines(tx)
    under_way = open_tasks(tx, uncertain_s)
    keys, pauses = _keys(tx, under_way), pauses_now(tx)
    pending = tx.execute(_PENDING).one()
    return LedgerGauges(
        states=_states(tx, lines),
        lines=lines,
        under_way=under_way,
        keys=keys,
        pauses=pauses,
        paused=_paused(tx, lines, keys, pauses),
        budgets=budgets_now(tx, held_by_tenant(under_way)),
        spent_usd={each: tx.execute(_SPENT, {"first_day": each.first_day(now.date())}).scalar_one() for each in Period},
        lapsed=tx.execute(_LAPSED, {"now": now}).scalar_one(),
        strays=tx.execute(STRAYS).scalar_one(),
        pending_deliveries=pending.number,
        deliveries_late_s=_since(now, pending.due_at),
    )


def _states(tx: Transaction, lines: Sequence[WaitingLine]) -> dict[State, StateFigures]:
    oldest = min((each.oldest_accepted_at for each in lines), default=None)
    found = {State.QUEUED: StateFigures(sum(each.waiting for each in lines), _since(tx.now, oldest))}
    for row in tx.execute(_BY_STATE):
        found[State(row.state)] = StateFigures(row.jobs, _since(tx.now, row.since))
    return found


def _keys(tx: Transaction, under_way: Sequence[Open]) -> list[KeyFigures]:
    rows = tx.execute(sa.select(provider_keys.c.alias)).scalars()
    aliases = {each.key_alias for each in under_way if each.key_alias is not None}
    return [_key(each, under_way, tx.now) for each in known_keys(tx, sorted({*aliases, *rows}))]


def _key(key: ProviderKey, under_way: Sequence[Open], now: datetime) -> KeyFigures:
    open_now = sum(each.tasks for each in under_way if each.key_alias == key.alias)
    return KeyFigures(key.alias, open_now, key.open_limit, key.is_paused(now), key.pause_by_person(now) is not None)


def _paused(tx: Transaction, lines: Sequence[WaitingLine], keys: Sequence[KeyFigures], pauses: Sequence[Pause]) -> int:
    names = {scope: {each.name for each in pauses if each.scope is scope} for scope in Scope}
    everyone = bool(names[Scope.ALL]) or _all_closed(tx, keys)
    return sum(each.waiting for each in lines if everyone or each.tenant in names[Scope.TENANT])


def _all_closed(tx: Transaction, keys: Sequence[KeyFigures]) -> bool:
    """Whether no key is left that nobody has closed. One that has neither a row nor anything open was used at least."""
    if not keys or not all(each.closed for each in keys):
        return False
    return set(keys_used(tx)) <= {each.alias for each in keys}


def _since(now: datetime, then: datetime | None) -> float:
    return 0.0 if then is None else max(0.0, (now - then).total_seconds())
