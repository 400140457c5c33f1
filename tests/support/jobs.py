"""A job as it is accepted, for tests to vary."""

from __future__ import annotations

from decimal import Decimal

from tasks.ledger.jobs import NewJob

NEW_JOB = NewJob(
    id="job-1",
    tenant="default",
    idempotency_key=None,
    fingerprint="f" * 64,
    model="minimax_hailuo_02_i2v",
    resolution="768P",
    duration_s=6,
    request={"metadata": {"shot": 3}},
    priority=0,
    estimate_usd=Decimal("0.28"),
    deadline_s=None,
)
