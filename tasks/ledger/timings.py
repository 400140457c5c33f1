"""How long the jobs took that ended last: what the poll schedule is seeded with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from schemas.jobs import State
from tasks.domain.knowledge import Kind, Seen
from tasks.domain.transitions import Event

from .database import Transaction
from .tables import jobs, timeline

_LATEST: Final = (
    sa.select(
        jobs.c.model,
        jobs.c.resolution,
        jobs.c.duration_s,
        jobs.c.generating_at,
        timeline.c.at,
        timeline.c.detail,
    )
    .join(timeline, timeline.c.job_id == jobs.c.id)
    .where(
        jobs.c.state == State.COMPLETED,
        timeline.c.event == Event.COMPLETED,
        timeline.c.state == State.DOWNLOADING,
        jobs.c.generating_at.is_not(None),
    )
    .order_by(jobs.c.changed_at.desc(), jobs.c.id.desc())
    .limit(sa.bindparam("limit"))
)


@dataclass(frozen=True, slots=True)
class Ended:
    """A completed job: its kind, and when its end was seen."""

    kind: Kind
    seen: Seen


def latest_ended(tx: Transaction, limit: int) -> list[Ended]:
    """The jobs that were completed last, the latest first."""
    return [_ended(row) for row in tx.execute(_LATEST, {"limit": limit})]


def _ended(row: Any) -> Ended:
    ended_s = max(0.0, (row.at - row.generating_at).total_seconds())
    detail: Mapping[str, Any] = row.detail
    looked_s = min(float(detail.get("looked_s") or 0), ended_s)
    kind = Kind(row.model, row.resolution, row.duration_s, row.generating_at.hour)
    return Ended(kind, Seen.between(looked_s, ended_s, detail.get("took_s"), detail.get("progress")))
