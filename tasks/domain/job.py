"""A job as the workers see it: one row of the ledger, as a value. Owns no behaviour that needs I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from schemas.jobs import State

JOB_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,63}\Z")
"""What can be a job's id: every door checks it. The store's folders are named by it."""
JOB_ID_RULE: Final = "job: 3 to 64 letters, digits, '-' and '_' are needed, the first a letter or digit"


@dataclass(frozen=True, slots=True)
class Job:
    """One job. `request` and `answer` hold prompts and signed URLs: they stay out of the repr, and so out of logs."""

    id: str
    tenant: str
    fingerprint: str
    model: str
    resolution: str | None
    duration_s: int | None
    priority: int
    estimate_usd: Decimal
    state: State
    version: int
    tries: int
    deaths: int
    """Claims in this state whose worker never came back."""
    accepted_at: datetime
    changed_at: datetime
    deadline_at: datetime | None
    generating_at: datetime | None
    key_alias: str | None
    provider_task_id: str | None
    error_code: str | None
    error_message: str | None
    error_stage: str | None
    cancel_requested_at: datetime | None
    request: Mapping[str, Any] = field(repr=False)
    answer: Mapping[str, Any] | None = field(repr=False)
