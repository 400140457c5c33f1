"""Pauses in the ledger: those of all and of tenants have rows of their own, that of a key is its being closed."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from schemas.jobs import State
from tasks.domain.budgets import EVERYONE
from tasks.domain.pauses import Pause, Scope

from .database import Transaction
from .provider_keys import OPEN_KEY, known_keys, set_key
from .tables import IS_OPEN, api_keys, attempts, budgets, jobs, pauses, provider_keys, tenants

_IN_FORCE: Final = pauses.c.ends_at.is_(None) | (pauses.c.ends_at > sa.bindparam("now"))
_PAUSED_NOW: Final = sa.select(pauses.c.tenant).where(_IN_FORCE)
_PAUSES_NOW: Final = sa.select(pauses).where(_IN_FORCE).order_by(pauses.c.tenant)
_CLOSED_KEYS: Final = sa.select(provider_keys.c.alias).where(provider_keys.c.closed).order_by(provider_keys.c.alias)
_ADMITTED: Final = sa.select(jobs.c.id).where(IS_OPEN, jobs.c.state == State.ADMITTED).order_by(jobs.c.id)


def paused_now(tx: Transaction) -> frozenset[str]:
    """The tenants for whom nothing is to be created now; `EVERYONE` among them: for nobody. Keys say so themselves."""
    return frozenset(tx.execute(_PAUSED_NOW, {"now": tx.now}).scalars())


def pauses_now(tx: Transaction) -> list[Pause]:
    """All pauses in force: that of all first, then those of tenants, then those of keys."""
    found = [_pause(row) for row in tx.execute(_PAUSES_NOW, {"now": tx.now})]
    keys = known_keys(tx, list(tx.execute(_CLOSED_KEYS).scalars()))
    return found + [said for key in keys if (said := key.pause_by_person(tx.now)) is not None]


def pauses_for(tx: Transaction, tenant: str) -> list[Pause]:
    """Those of these that a tenant may know of: that of all, and its own."""
    rows = tx.execute(_PAUSES_NOW.where(pauses.c.tenant.in_([EVERYONE, tenant])), {"now": tx.now})
    return [_pause(row) for row in rows]


def pause_now(tx: Transaction, scope: Scope, name: str) -> Pause | None:
    """The pause in force of exactly this, or `None`."""
    return next((each for each in pauses_now(tx) if (each.scope, each.name) == (scope, name)), None)


def keep_pause(tx: Transaction, pause: Pause) -> None:
    """Write a pause, in the place of one that there may be."""
    if pause.scope is Scope.KEY:
        said = {"closed_at": pause.at, "closed_by": pause.by, "closed_reason": pause.reason}
        set_key(tx, pause.name, closed=True, **said, closed_until=pause.until)
        return
    said = {"paused_at": pause.at, "paused_by": pause.by, "reason": pause.reason, "ends_at": pause.until}
    tx.put(pauses, {"tenant": pause.name}, said)


def remove_pause(tx: Transaction, scope: Scope, name: str) -> None:
    """Forget a pause, if there is one."""
    if scope is not Scope.KEY:
        tx.execute(sa.delete(pauses).where(pauses.c.tenant == name))
    elif tx.execute(sa.select(provider_keys.c.closed).where(provider_keys.c.alias == name)).scalar():
        set_key(tx, name, **OPEN_KEY)


def admitted_of(tx: Transaction, scope: Scope, name: str) -> list[str]:
    """Ids, in their order, of the jobs of these that have their slot and nothing more."""
    column = {Scope.TENANT: jobs.c.tenant, Scope.KEY: jobs.c.key_alias}.get(scope)
    return list(tx.execute(_ADMITTED if column is None else _ADMITTED.where(column == name)).scalars())


def knows_tenant(tx: Transaction, tenant: str) -> bool:
    """Whether a tenant has, or ever had, anything here."""
    places = (tenants.c.name, jobs.c.tenant, api_keys.c.tenant, budgets.c.tenant)
    return any(tx.execute(sa.select(column).where(column == tenant).limit(1)).first() for column in places)


def knows_key(tx: Transaction, alias: str) -> bool:
    """Whether a key has a row, or was ever used."""
    places = (provider_keys.c.alias, attempts.c.key_alias)
    return any(tx.execute(sa.select(column).where(column == alias).limit(1)).first() for column in places)


def _pause(row: sa.Row[Any]) -> Pause:
    scope = Scope.ALL if row.tenant == EVERYONE else Scope.TENANT
    return Pause(scope, row.tenant, row.paused_at, row.paused_by, row.reason, row.ends_at)
