"""Stops new creates by a person's word, for all, for a tenant, or with a key; and lets them go on.

A pause is written in turn with those who admit jobs, and takes back whoever has a slot and no create yet. So once it is
committed no create begins: whoever admits next sees it, and whoever was about to begin finds its job moved on. Nothing
else stops: what the provider has is looked at, fetched and charged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import structlog

from tasks.context import Context
from tasks.domain.pauses import Pause, Scope
from tasks.domain.transitions import Event
from tasks.ledger.database import Transaction
from tasks.ledger.jobs import move
from tasks.ledger.pauses import admitted_of, keep_pause, pause_now, remove_pause

log = structlog.get_logger("reelworks.operate")


@dataclass(frozen=True, slots=True)
class Paused:
    """A pause as it stands now. `before`: it stood already. `taken_back`: jobs that were about to be created."""

    pause: Pause
    before: bool
    taken_back: tuple[str, ...]


def pause(
    ctx: Context, scope: Scope, name: str = "", *, by: str, reason: str | None = None, for_s: float | None = None
) -> Paused:
    """Have nothing new created from now on; for `for_s` seconds, or until somebody resumes.

    What was said before is replaced, but a pause keeps its beginning, and its reason where none is given.
    """
    with ctx.ledger.begin("operate") as tx:
        tx.take_turns("admit")  # who admits at this moment has not seen it, and would admit beyond it
        before = pause_now(tx, scope, name)
        made = Pause(
            scope,
            name,
            at=tx.now if before is None or before.at is None else before.at,
            by=by,
            reason=before.reason if reason is None and before is not None else reason,
            until=None if for_s is None else tx.now + timedelta(seconds=for_s),
        )
        keep_pause(tx, made)
        taken_back = _take_back(tx, scope, name)
    log.info("creates_paused", of=made.of, taken_back=len(taken_back))
    ctx.show(taken_back)
    return Paused(made, before is not None, tuple(taken_back))


def resume(ctx: Context, scope: Scope, name: str = "") -> Pause | None:
    """Let creates go on; gives the pause that has ended so, `None` when there was none. Other pauses stand."""
    with ctx.ledger.begin("operate") as tx:
        before = pause_now(tx, scope, name)
        remove_pause(tx, scope, name)
    if before is not None:
        log.info("creates_resumed", of=before.of)
    return before


def _take_back(tx: Transaction, scope: Scope, name: str) -> list[str]:
    """Queue those again of which no create has begun. One that begins at this moment has, or will find itself moved."""
    detail = {"outcome": "paused"}
    moved = [move(tx, job_id, Event.UNSENT, detail=detail, key_alias=None) for job_id in admitted_of(tx, scope, name)]
    return [job.id for job in moved if job is not None]
