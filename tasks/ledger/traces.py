"""Which jobs have ended since their trace was given out last: each end is given out once, whoever asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from schemas.jobs import TERMINAL

from .database import Transaction
from .tables import jobs

_ids: Final[sa.BindParameter[str]] = sa.bindparam("ids", expanding=True)
_GIVEN_OUT: Final = sa.func.coalesce(jobs.c.traced_version, 0)
_UNTRACED: Final = (
    sa.select(jobs.c.id, jobs.c.traceparent, _GIVEN_OUT.label("after_seq"), jobs.c.version.label("last_seq"))
    .where(jobs.c.id.in_(_ids), jobs.c.state.in_(sorted(TERMINAL)), jobs.c.version > _GIVEN_OUT)
    .order_by(jobs.c.id)
    .with_for_update()
)
_TAKE: Final = sa.update(jobs).where(jobs.c.id.in_(_ids)).values(traced_version=jobs.c.version)


@dataclass(frozen=True, slots=True)
class Untraced:
    """An ended job, and what of its timeline is to be given out: from after `after_seq` to `last_seq`, its end.

    A job that failed and was tried again ends more than once.
    """

    id: str
    traceparent: str | None
    after_seq: int
    last_seq: int


def take_untraced(tx: Transaction, job_ids: Sequence[str]) -> list[Untraced]:
    """Those of these jobs that have ended and whose end was not given out; from now on it counts as given out."""
    if not job_ids:
        return []
    found = [Untraced(**row) for row in tx.execute(_UNTRACED, {"ids": list(job_ids)}).mappings()]
    if found:
        tx.execute(_TAKE, {"ids": [each.id for each in found]})
    return found
