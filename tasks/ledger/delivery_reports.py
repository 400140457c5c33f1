"""Webhooks for people to look at: pages of them, and the receivers that fail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from .database import Transaction
from .deliveries import COLUMNS, Delivery, Fate, deliveries_of
from .tables import HAS_DIED, receivers, webhooks

_HAS: Final[dict[Fate, Any]] = {
    Fate.DUE: webhooks.c.due_at.is_not(None),
    Fate.ARRIVED: webhooks.c.delivered_at.is_not(None),
    Fate.DEAD: HAS_DIED,
}


def page_of(
    tx: Transaction,
    *,
    tenant: str | None = None,
    fate: Fate | None = None,
    job_id: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int,
) -> list[Delivery]:
    """A page of messages, the latest event first: those after `before` (its instant, id)."""
    query = sa.select(*COLUMNS)
    for given, column in ((tenant, webhooks.c.tenant), (job_id, webhooks.c.job_id)):
        if given is not None:
            query = query.where(column == given)
    if fate is not None:
        query = query.where(_HAS[fate])
    if before is not None:
        query = query.where(sa.tuple_(webhooks.c.at, webhooks.c.id) < before)
    return deliveries_of(tx.execute(query.order_by(webhooks.c.at.desc(), webhooks.c.id.desc()).limit(limit)))


@dataclass(frozen=True, slots=True)
class Receiver:
    """One that has failed and was not heard of since. `name`: its tenant and its address, without a path."""

    name: str
    failures: int
    paused_until: datetime | None


def failing_receivers(tx: Transaction, limit: int, tenant: str | None = None) -> list[Receiver]:
    """Receivers that are failing, of one tenant or of all, those that have failed most often first."""
    most_first = sa.select(receivers).order_by(receivers.c.failures.desc()).limit(limit)
    if tenant is not None:
        # No tenant's name has a space in it: that is where it ends.
        most_first = most_first.where(receivers.c.name.startswith(f"{tenant} ", autoescape=True))
    return [Receiver(row.name, row.failures, row.paused_until) for row in tx.execute(most_first)]
