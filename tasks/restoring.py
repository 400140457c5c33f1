"""Makes a restored ledger safe to work with: what may have been created since the backup is held for a person.

A backup knows a job as queued that has been created, and paid for, since. Whoever went on from there would pay for it a
second time. So each such job becomes `uncertain` before anybody works with the ledger, and none is created unasked.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, Final

import structlog

from schemas.jobs import State
from tasks.domain.job import Job
from tasks.domain.transitions import Event
from tasks.ledger import Ledger, Transaction
from tasks.ledger.holding import to_hold
from tasks.ledger.jobs import lock_many, move_read
from tasks.ledger.money import end_attempt, open_attempt

log = structlog.get_logger("reelworks.operate")

_PAGE: Final = 200
_AT_ONCE_S: Final = 0.0
_BEYOND: Final = 1_000
"""So many changes ahead of the ledger's own a held job begins: views in Redis may know of changes that were lost with
the old ledger, and the view with more of them counts."""
_WHY: Final = "the ledger was restored from a backup: what was done since is not known"


def hold(ledger: Ledger, known_until: datetime | None) -> dict[State, int]:
    """Hold every job that may have been created since; gives how many there were in which state.

    `known_until`: the last change that the backup knows of. To repeat it is no harm: what is held stays so.
    """
    held: Counter[State] = Counter()
    after = ""
    while True:
        with ledger.begin("operate") as tx:
            page = to_hold(tx, after, _PAGE)
            for job in lock_many(tx, page):
                if _hold(tx, job, known_until) is not None:
                    held[job.state] += 1
        if len(page) < _PAGE:
            break
        after = page[-1]
    log.info("jobs_held", jobs=sum(held.values()))
    return dict(held)


def _hold(tx: Transaction, job: Job, known_until: datetime | None) -> Job | None:
    attempt_id = open_attempt(tx, job.id)
    if attempt_id is not None:
        end_attempt(tx, attempt_id, "unknown", reason=_WHY)
    values: dict[str, Any] = {"version": job.version + _BEYOND}
    if job.state is State.QUEUED:
        values["hold_usd"] = job.estimate_usd  # it counts against the budgets until somebody knows better
    detail = {"was": job.state, "known_until": None if known_until is None else known_until.isoformat()}
    return move_read(tx, job, Event.HELD, lease_s=_AT_ONCE_S, detail=detail, **values)
