"""The gateway's keys in the ledger. What is kept of a key's secret is its hash."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tasks.domain.api_keys import ApiKey, Scope

from .database import Transaction
from .tables import api_keys, tenants


def add_api_key(tx: Transaction, key: ApiKey, secret_hash: str) -> None:
    """Write a new key, with the hash (hex) of its secret."""
    row = {name: getattr(key, name) for name in ApiKey.__slots__}
    tx.execute(sa.insert(api_keys).values({**row, "scopes": " ".join(sorted(key.scopes)), "secret_hash": secret_hash}))


@dataclass(frozen=True, slots=True)
class Found:
    """A key, the hash of its secret, and what its tenant may ask of the gateway where a person has set it."""

    key: ApiKey
    secret_hash: str
    requests_per_minute: float | None
    jobs_limit: int | None


def find_api_key(tx: Transaction, key_id: str) -> Found | None:
    """What is known of a key, or `None`."""
    query = sa.select(api_keys, tenants.c.requests_per_minute, tenants.c.jobs_limit)
    query = query.outerjoin(tenants, tenants.c.name == api_keys.c.tenant).where(api_keys.c.id == key_id)
    row = tx.execute(query).mappings().first()
    if row is None:
        return None
    return Found(_key(row), row["secret_hash"], row["requests_per_minute"], row["jobs_limit"])


def list_api_keys(tx: Transaction, tenant: str | None = None) -> list[ApiKey]:
    """All keys, or a tenant's, by tenant and age."""
    query = sa.select(api_keys).order_by(api_keys.c.tenant, api_keys.c.created_at, api_keys.c.id)
    if tenant is not None:
        query = query.where(api_keys.c.tenant == tenant)
    return [_key(row) for row in tx.execute(query).mappings()]


def revoke_api_key(tx: Transaction, key_id: str) -> bool:
    """Have a key open nothing any more, from now on; false when there is none, or it was revoked before."""
    living = sa.update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
    return tx.execute(living.values(revoked_at=tx.now)).rowcount == 1


def expire_api_key(tx: Transaction, key_id: str, at: datetime) -> None:
    """Let a key end then, if it does not end before."""
    later = api_keys.c.expires_at.is_(None) | (api_keys.c.expires_at > at)
    tx.execute(sa.update(api_keys).where(api_keys.c.id == key_id, later).values(expires_at=at))


def _key(row: sa.RowMapping) -> ApiKey:
    values: dict[str, Any] = {name: row[name] for name in ApiKey.__slots__}
    return ApiKey(**{**values, "scopes": frozenset(map(Scope, row["scopes"].split()))})
