"""Provider tasks that no job follows (any more): asked what they cost until they have ended, and then charged."""

from __future__ import annotations

from dataclasses import replace

import structlog

from tasks.charging import charge_task
from tasks.context import Context
from tasks.domain.answers import Completed, Failed, PollAnswer
from tasks.ledger.jobs import get
from tasks.ledger.money import Stray, settle_later, settled, strays

log = structlog.get_logger("reelworks.money")


def settle_strays(ctx: Context, limit: int) -> int:
    """Ask about the strays that are due; gives how many are settled now."""
    with ctx.ledger.read() as tx:
        due = strays(tx, limit)
    return sum(_settle(ctx, stray, ask(ctx, stray.key_alias, stray.provider_task_id)) for stray in due)


def ask(ctx: Context, key_alias: str, provider_task_id: str) -> PollAnswer | None:
    """What the provider says of a task now; `None` when this process does not have the task's key."""
    provider = ctx.providers.get(key_alias)
    return None if provider is None else provider.poll(provider_task_id)


def _settle(ctx: Context, stray: Stray, answer: PollAnswer | None) -> bool:
    with ctx.ledger.begin("settle") as tx:
        job = get(tx, stray.job_id)
        if job is None or not isinstance(answer, Completed | Failed):
            settle_later(tx, stray.attempt_id, ctx.policy.settle_s)
            return False
        paid = replace(job, provider_task_id=stray.provider_task_id, key_alias=stray.key_alias)
        charge_task(tx, paid, answer.usage, answer.metadata, failed=isinstance(answer, Failed))
        settled(tx, stray.attempt_id)
    log.warning("stray_settled", job_id=stray.job_id, provider_task_id=stray.provider_task_id)
    ctx.show([stray.job_id])
    return True
