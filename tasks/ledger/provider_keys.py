"""Provider keys in the ledger: the limits that a person has set, and what the provider's answers have made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from tasks.domain.pace import ProviderKey, probe_after_s, slowed_to

from .database import Ledger, Transaction
from .tables import attempts, provider_keys

# A key that has had a create accepted since it was refused is itself again; only those that were refused are looked up.
# The first by the index: of EXISTS, or of any one, PostgreSQL may make a walk through all creates there ever were.
_ACCEPTED_SINCE: Final = (
    sa.select(attempts.c.id)
    .where(
        attempts.c.key_alias == provider_keys.c.alias,
        attempts.c.begun_at > provider_keys.c.refused_at,
        attempts.c.outcome == "accepted",
    )
    .order_by(attempts.c.begun_at)
    .limit(1)
    .scalar_subquery()
)
_REFUSALS: Final = sa.case(
    (provider_keys.c.refusals == 0, 0), (_ACCEPTED_SINCE.is_not(None), 0), else_=provider_keys.c.refusals
).label("refusals")
_COLUMNS: Final = [
    _REFUSALS if field.name == "refusals" else provider_keys.c[field.name] for field in fields(ProviderKey)
]
_KEYS: Final = sa.select(*_COLUMNS).where(provider_keys.c.alias.in_(sa.bindparam("aliases", expanding=True)))
OPEN_KEY: Final[dict[str, Any]] = {
    "closed": False,
    "closed_at": None,
    "closed_by": None,
    "closed_reason": None,
    "closed_until": None,
}
"""What stands in the row of a key that nobody has closed."""
_ENDED: Final = provider_keys.c.closed & (provider_keys.c.closed_until <= sa.bindparam("now"))
_MINUTE_S: Final = 60.0
_LONGEST_PAUSE_S: Final = 600.0


def known_keys(tx: Transaction, aliases: Sequence[str]) -> list[ProviderKey]:
    """These keys as they are now, in their order."""
    rows = {row.alias: ProviderKey(**row._mapping) for row in tx.execute(_KEYS, {"aliases": list(aliases)})}  # noqa: SLF001 (SQLAlchemy's public name)
    return [_as_it_is(rows[alias], tx.now) if alias in rows else ProviderKey(alias) for alias in aliases]


def _as_it_is(key: ProviderKey, now: datetime) -> ProviderKey:
    """A pause that has ended may stand in its row until the sweep comes by; the key is open all the same."""
    return replace(key, **OPEN_KEY) if key.closed and key.pause_by_person(now) is None else key


def ended_pauses(tx: Transaction) -> list[str]:
    """Keys whose row says that a person has closed them until a time that is past."""
    return list(tx.execute(sa.select(provider_keys.c.alias).where(_ENDED), {"now": tx.now}).scalars())


def open_again(tx: Transaction) -> None:
    """Open these in their rows as well.

    Workers of a version before pauses know of no end, and close a key without taking an older end away.
    """
    tx.execute(sa.update(provider_keys).where(_ENDED).values(OPEN_KEY), {"now": tx.now})


class PausedKeys:
    """Which keys take nothing new for now, and why, as those ask who wait for something to happen."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def paused(self, aliases: Sequence[str]) -> dict[str, str]:
        """Of these keys, those that are closed or paused, with the reason. Raises `LedgerError`."""
        with self._ledger.read() as tx:
            keys = known_keys(tx, aliases)
            return {key.alias: _why(key, tx.now) for key in keys if key.is_paused(tx.now)}


def throttled(tx: Transaction, alias: str, begun_at: datetime, pause_s: float) -> None:
    """Note that the provider has throttled a create: the key is slowed at once, and pauses."""
    (key,) = known_keys(tx, [alias])
    lately = (attempts.c.key_alias == alias) & (attempts.c.begun_at > tx.now - timedelta(seconds=_MINUTE_S))
    taken = attempts.c.outcome.is_(None) | (attempts.c.outcome != "throttled")
    count: int = tx.execute(sa.select(sa.func.count()).select_from(attempts).where(lately, taken)).scalar_one()
    slowed = slowed_to(key, tx.now, begun_at, float(count))
    slower = {} if slowed is None else {"slowed_at": tx.now, "slowed_to": slowed}
    _changed(tx, alias, paused_until=_later(key, tx, pause_s), pause_reason="throttled", **slower)


def refused(tx: Transaction, alias: str, begun_at: datetime, pause_s: float, reason: str) -> None:
    """Note that the provider has refused the key itself: it pauses, longer each time, and then tries one create."""
    (key,) = known_keys(tx, [alias])
    before = tx.execute(sa.select(provider_keys.c.refused_at).where(provider_keys.c.alias == alias)).scalar()
    if before is not None and begun_at <= before:
        return  # it was under way when the key was refused, and says nothing new
    refusals = key.refusals + 1
    until = _later(key, tx, probe_after_s(pause_s, refusals, _LONGEST_PAUSE_S))
    _changed(tx, alias, paused_until=until, pause_reason=reason, refusals=refusals, refused_at=tx.now)


def pause(tx: Transaction, alias: str, pause_s: float, reason: str) -> None:
    """Let a key take nothing new for a while."""
    (key,) = known_keys(tx, [alias])
    _changed(tx, alias, paused_until=_later(key, tx, pause_s), pause_reason=reason)


def paced(tx: Transaction, alias: str, next_create_at: datetime) -> None:
    """Note when the key's pace allows the next create."""
    _changed(tx, alias, next_create_at=next_create_at)


def set_key(tx: Transaction, alias: str, **values: Any) -> ProviderKey:
    """Change what a person sets of a key: `open_limit`, `creates_per_minute`, that it is `closed`, with who said so and
    why (`closed_...`); `paused_until` ends a pause of the provider's making."""
    return _changed(tx, alias, **values)


def _why(key: ProviderKey, now: datetime) -> str:
    said = key.pause_by_person(now)
    if said is None:
        return key.pause_reason or "paused"
    return "closed by a person" if said.reason is None else f"closed by a person: {said.reason}"


def _later(key: ProviderKey, tx: Transaction, pause_s: float) -> datetime:
    until = tx.now + timedelta(seconds=pause_s)
    return until if key.paused_until is None else max(key.paused_until, until)


def _changed(tx: Transaction, alias: str, **values: Any) -> ProviderKey:
    tx.put(provider_keys, {"alias": alias}, values)
    return known_keys(tx, [alias])[0]
