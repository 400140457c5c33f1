"""What a tenant's webhooks are signed with: made at the first need, two of them while one takes the other's place."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from .database import Transaction
from .tables import webhook_secrets

_BYTES: Final = 32
_PREFIX: Final = "whsec_"  # as Standard Webhooks has it, so that its libraries take the text as it is


@dataclass(frozen=True, slots=True)
class WebhookSecret:
    """One of a tenant's secrets. `text`: as its receivers are given it."""

    number: int
    created_at: datetime
    ends_at: datetime | None
    text: str = field(repr=False)


def secrets_of(tx: Transaction, tenant: str) -> list[WebhookSecret]:
    """Those that sign now, the newest first; of a tenant that has none yet, none."""
    table = webhook_secrets
    living = table.c.ends_at.is_(None) | (table.c.ends_at > tx.now)
    query = sa.select(table).where(table.c.tenant == tenant, living).order_by(table.c.number.desc())
    return [WebhookSecret(row.number, row.created_at, row.ends_at, row.secret) for row in tx.execute(query)]


def make_first(tx: Transaction, tenant: str) -> list[WebhookSecret]:
    """Those of a tenant that had none: somebody else may make its first one at the same moment, and then it is that."""
    _make(tx, tenant, 1)
    return secrets_of(tx, tenant)


def rotate(tx: Transaction, tenant: str, overlap_s: float) -> list[WebhookSecret]:
    """Make a new one; those before sign for `overlap_s` seconds more, so that receivers have time to learn it."""
    table = webhook_secrets
    tx.take_turns(f"webhook_secrets {tenant}")
    ends_at = tx.now + timedelta(seconds=overlap_s)
    longer = table.c.ends_at.is_(None) | (table.c.ends_at > ends_at)
    tx.execute(sa.update(table).where(table.c.tenant == tenant, longer).values(ends_at=ends_at))
    last: int | None = tx.execute(sa.select(sa.func.max(table.c.number)).where(table.c.tenant == tenant)).scalar()
    _make(tx, tenant, (last or 0) + 1)
    return secrets_of(tx, tenant)


def _make(tx: Transaction, tenant: str, number: int) -> None:
    text = _PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()
    row = {"tenant": tenant, "number": number, "secret": text, "created_at": tx.now}
    tx.execute(tx.insert_new(webhook_secrets), row)
