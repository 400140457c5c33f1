"""Provider tasks that no job follows (any more): asked what they cost until they have ended, and then charged."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import structlog

from tasks.charging import charge_task
from tasks.context import Context
from tasks.domain.answers import Completed, Failed, PollAnswer
from tasks.ledger.jobs import get
from tasks.ledger.money import Stray, settle_later, settled, strays

log = structlog.get_logger("reelworks.money")

# One in so many of the threads that ask the provider: the jobs' own looks must not wait for strays that time out.
_SHARE: Final = 4
# The next look comes after a tenth of a stray's age: the longer nothing is heard of it, the less is to be expected.
_AGES_A_LOOK: Final = 10
_LONGEST_S: Final = 3600.0
_ALARMING_AGE_S: Final = 86_400.0


def settle_strays(ctx: Context) -> int:
    """Ask about the strays that are due, as many as can be asked at once; gives how many are settled now.

    It takes no longer than one poll may: whoever calls it has other things to look after.
    """
    limit = max(1, ctx.policy.poll_concurrency // _SHARE)
    with ctx.ledger.read() as tx:
        due = strays(tx, limit)
    answers = zip(due, ctx.threads.map(lambda stray: _ask(ctx, stray), due), strict=True)
    return sum(_settle(ctx, *each) for each in sorted(answers, key=lambda each: each[0].job_id))


def _ask(ctx: Context, stray: Stray) -> PollAnswer | None:
    try:
        return ask(ctx, stray.key_alias, stray.provider_task_id)
    except Exception:
        # One answer that our own code can't take must not hold up the others.
        log.exception("stray_poll_failed", job_id=stray.job_id, provider_task_id=stray.provider_task_id)
        return None


def ask(ctx: Context, key_alias: str, provider_task_id: str) -> PollAnswer | None:
    """What the provider says of a task now; `None` when this process does not have the task's key."""
    provider = ctx.providers.get(key_alias)
    return None if provider is None else provider.poll(provider_task_id)


def _settle(ctx: Context, stray: Stray, answer: PollAnswer | None) -> bool:
    with ctx.ledger.begin("settle") as tx:
        job = get(tx, stray.job_id)
        if job is None or not isinstance(answer, Completed | Failed):
            settle_later(tx, stray.attempt_id, max(ctx.policy.settle_s, min(stray.age_s / _AGES_A_LOOK, _LONGEST_S)))
            if stray.age_s >= _ALARMING_AGE_S:
                log.error(
                    "stray_not_settled",
                    job_id=stray.job_id,
                    provider_task_id=stray.provider_task_id,
                    key=stray.key_alias,
                    age_s=round(stray.age_s),
                    answer=type(answer).__name__,
                )
            return False
        paid = replace(job, provider_task_id=stray.provider_task_id, key_alias=stray.key_alias)
        charge_task(tx, paid, answer.usage, answer.metadata, failed=isinstance(answer, Failed))
        settled(tx, stray.attempt_id)
    log.warning("stray_settled", job_id=stray.job_id, provider_task_id=stray.provider_task_id)
    ctx.show([stray.job_id])
    return True
