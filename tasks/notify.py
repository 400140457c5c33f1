"""Lane notify: tells callers what became of their jobs, by the webhooks that stand in the ledger."""

from __future__ import annotations

import random
from datetime import datetime
from functools import partial
from typing import Final

import structlog

from tasks.context import Context
from tasks.domain.delivering import Arrived, Dead, Decision, Reply, decide
from tasks.domain.figures import DELIVERIES
from tasks.failpoints import failpoint
from tasks.forms.webhook import message
from tasks.lanes import lane
from tasks.ledger import LedgerError
from tasks.ledger.deliveries import Delivery, are_due, receiver_answered, receiver_failed, settle, take
from tasks.ledger.resources import resource_of
from tasks.ledger.webhook_secrets import make_first, secrets_of
from tasks.webhooks import signed

log = structlog.get_logger("reelworks.notify")

_LOOKED_AT: Final = 100
_FULL_S: Final = 0.1


@lane("notify")
def notify(ctx: Context) -> float:
    """Send the webhooks that are due. Waits for no receiver: each message goes its own way to its end."""
    room, busy = ctx.webhooks.room(), ctx.webhooks.busy()
    if room <= 0:
        return _FULL_S
    with ctx.ledger.read() as tx:
        if not are_due(tx, busy):
            return ctx.policy.lane_idle_s
    with ctx.ledger.begin("notify") as tx:
        taken = take(tx, ctx.policy.webhook, _LOOKED_AT, room, busy)
    if taken.died:
        log.error("deliveries_dead", deliveries=taken.died, reason="their receivers do not answer")
        ctx.pulse.tally.add(DELIVERIES, "dead", amount=taken.died)
    for owed in taken.messages:
        ctx.webhooks.begin(owed.receiver, partial(deliver, ctx, owed))
    return 0.0 if taken.more else ctx.policy.lane_idle_s


def deliver(ctx: Context, owed: Delivery) -> None:
    """Send one message that was taken, and write what became of it. Whoever dies in between sends it again."""
    try:
        reply, begun_at = _send(ctx, owed)
        _write(ctx, owed, reply, begun_at)
    except LedgerError as error:
        log.warning("delivery_not_settled", delivery=owed.id, job_id=owed.job_id, error=type(error).__name__)
    except Exception:
        # Our own code can't write this message, and would not the next time; the others go on.
        log.exception("delivery_failed", delivery=owed.id, job_id=owed.job_id)
        _bury(ctx, owed)


def _send(ctx: Context, owed: Delivery) -> tuple[Reply, datetime]:
    with ctx.ledger.read() as tx:
        now, job = tx.now, resource_of(tx, owed.tenant, owed.job_id)
        secrets = secrets_of(tx, owed.tenant)
    if job is None:
        raise LookupError("its job is gone")
    if not secrets:
        with ctx.ledger.begin("notify.secret") as tx:
            secrets = make_first(tx, owed.tenant)
    body = message(owed, job, ctx.gateway)
    headers = signed([each.text for each in secrets], owed.id, now, body)
    failpoint("notify.before_post")
    reply = ctx.webhooks.post(owed.url, body, headers, now)
    failpoint("notify.after_post")
    return reply, now


def _write(ctx: Context, owed: Delivery, reply: Reply, begun_at: datetime) -> None:
    policy, tries, alone_s = ctx.policy.webhook, owed.tries + 1, 0.0
    with ctx.ledger.begin("notify.settle") as tx:
        age_s = (tx.now - owed.since).total_seconds()
        spread = random.random()  # noqa: S311 (spreads load, hides nothing)
        decision: Decision = decide(policy, reply, tries=tries, age_s=age_s, spread=spread)
        settle(tx, owed, decision, reply.reason)
        if reply.is_away:
            alone_s = receiver_failed(tx, policy, owed.receiver, begun_at)
        elif reply.status is not None:
            receiver_answered(tx, owed.receiver)
    ctx.pulse.tally.add(DELIVERIES, _counted_as(decision))
    told = {"delivery": owed.id, "job_id": owed.job_id, "event_told": owed.event, "tries": tries}
    match decision:
        case Arrived():
            log.info("delivery_arrived", **told)
        case Dead():
            log.error("delivery_dead", reason=reply.reason, **told)
        case _:
            log.warning("delivery_put_off", reason=reply.reason, for_s=round(decision.after_s), **told)
    if alone_s > 0:
        log.warning("receiver_left_alone", tenant=owed.tenant, for_s=round(alone_s))


def _counted_as(decision: Decision) -> str:
    match decision:
        case Arrived():
            return "arrived"
        case Dead(gone):
            return "gone" if gone else "dead"
        case _:
            return "put_off"


def _bury(ctx: Context, owed: Delivery) -> None:
    ctx.pulse.tally.add(DELIVERIES, "dead")
    try:
        with ctx.ledger.begin("notify.settle") as tx:
            settle(tx, owed, Dead(), "our own error: see the log of the lanes")
    except LedgerError as error:
        log.warning("delivery_not_settled", delivery=owed.id, job_id=owed.job_id, error=type(error).__name__)
