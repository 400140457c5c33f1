"""Writes what a provider task cost, as it was reported or from the price list: once a task, however often called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from tasks.domain.answers import Usage
from tasks.domain.job import Job
from tasks.domain.prices import price_of
from tasks.ledger.database import Transaction
from tasks.ledger.money import charge

log = structlog.get_logger("reelworks.money")


def charge_task(tx: Transaction, job: Job, usage: Usage, metadata: Mapping[str, Any], *, failed: bool = False) -> None:
    """Charge a job for its provider task, which has ended. One that failed is free unless the provider names a cost."""
    if failed and not usage.cost_usd:
        return
    price = price_of(usage, job.estimate_usd)
    discount = None if usage.discount is None else str(usage.discount)
    if charge(tx, job, price, discount=discount, usage=usage.raw, metadata=metadata):
        log.info("job_charged", job_id=job.id, amount_usd=str(price.amount_usd), estimated=price.estimated)
