"""Webhooks in the ledger: owed with the change that they tell, taken for sending, settled by what became of it.

Taking is a lease: a message that is on its way is due again when the lease ends, so whoever dies with it loses nothing.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from schemas.jobs import State
from tasks.domain.delivering import Again, Arrived, Dead, Decision, WebhookPolicy, pause_s, receiver_of

from .database import Transaction
from .tables import receivers, webhooks


class Fate(StrEnum):
    """What can become of a message."""

    DUE = "due"
    """It is sent, or tried again, when its time comes."""
    ARRIVED = "arrived"
    DEAD = "dead"
    """It is not sent any more, unless somebody says so."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message to a job's caller about one event. The address can hold the receiver's secrets: it stays out of the
    repr, and so out of logs.
    """

    id: str
    job_id: str
    seq: int
    tenant: str
    event: State
    at: datetime
    receiver: str
    tries: int
    since: datetime
    due_at: datetime | None
    delivered_at: datetime | None
    died_at: datetime | None
    last_error: str | None
    url: str = field(repr=False)

    @property
    def fate(self) -> Fate:
        """What has become of it so far."""
        if self.delivered_at is not None:
            return Fate.ARRIVED
        return Fate.DUE if self.due_at is not None else Fate.DEAD


COLUMNS: Final = [webhooks.c[each.name] for each in fields(Delivery)]

_FORGOTTEN_S: Final = 7 * 86_400.0
"""A receiver that failed so long ago, and was not tried since, is as one that never failed."""
_this: Final = sa.bindparam
_OWE: Final = sa.insert(webhooks)
_DUE: Final = webhooks.c.due_at <= _this("now")
_TAKEN: Final = (webhooks.c.id == _this("this_id")) & (webhooks.c.tries == _this("this_tries"))
_TAKE: Final = sa.update(webhooks).where(_TAKEN, _DUE).values(tries=webhooks.c.tries + 1, due_at=_this("until"))
_SETTLE: Final = sa.update(webhooks).where(_TAKEN, webhooks.c.due_at.is_not(None))
_ARRIVED: Final = sa.update(webhooks).where(webhooks.c.id == _this("this_id"))
_FORGIVE: Final = sa.delete(receivers).where(receivers.c.name == _this("this_name"))
_FAILED: Final = (
    sa.update(receivers)
    .where(
        receivers.c.name == _this("this_name"),
        receivers.c.failed_at.is_(None) | (receivers.c.failed_at < _this("begun_at")),
    )
    .values(failures=receivers.c.failures + 1, failed_at=_this("now"))
    .returning(receivers.c.failures)
)


def owe(tx: Transaction, job_id: str, tenant: str, seq: int, state: State, url: str) -> None:
    """Write that a job's caller is to be told of a change: with the change, in its transaction."""
    row = {
        "id": str(uuid.uuid4()),
        "job_id": job_id,
        "seq": seq,
        "tenant": tenant,
        "event": state,
        "at": tx.now,
        "url": url,
        "receiver": receiver_of(tenant, url),
        "tries": 0,
        "since": tx.now,
        "due_at": tx.now,
    }
    tx.execute(_OWE, row)


def are_due(tx: Transaction, busy: Collection[str]) -> bool:
    """Whether there is anything to send, to receivers other than these."""
    query = sa.select(webhooks.c.id).where(webhooks.c.due_at <= tx.now, _not_to(busy)).limit(1)
    return tx.execute(query).first() is not None


@dataclass(frozen=True, slots=True)
class Taken:
    """Messages to be sent now. `more`: others may be due as well. `died`: so many are not sent any more, untried."""

    messages: Sequence[Delivery]
    more: bool
    died: int = 0


def take(tx: Transaction, policy: WebhookPolicy, limit: int, room: int, busy: Collection[str]) -> Taken:
    """Take messages for sending: at most `room`, none for the receivers in `busy`, of those due the longest.

    Of `limit` that are looked at, those to receivers that are left alone are put off; one that comes back from such a
    pause is tried with one message. What has waited for too long for such a receiver is dead.
    """
    query = sa.select(*COLUMNS).where(webhooks.c.due_at <= tx.now, _not_to(busy))
    due = deliveries_of(tx.execute(query.order_by(webhooks.c.due_at, webhooks.c.id).limit(limit)))
    failing = _failing(tx, policy, {each.receiver for each in due})
    taken: list[Delivery] = []
    put_off = died = 0
    per_receiver: dict[str, int] = {}
    for each in due:
        paused_until = failing.get(each.receiver)
        if paused_until is not None and paused_until > tx.now:
            died += _put_off(tx, policy, each, paused_until)
            put_off += 1
        elif len(taken) < room and per_receiver.get(each.receiver, 0) < policy.slots_per_receiver:
            until = tx.now + timedelta(seconds=policy.lease_s)
            if tx.execute(_TAKE, {**_taken(each), "now": tx.now, "until": until}).rowcount == 1:
                taken.append(each)
                per_receiver[each.receiver] = per_receiver.get(each.receiver, 0) + 1
            if paused_until is not None:
                failing[each.receiver] = until  # the others wait for what becomes of this one
                tx.execute(_set_pause(each.receiver, until))
    return Taken(taken, more=put_off > 0 or len(taken) == room or len(due) == limit, died=died)


def _failing(tx: Transaction, policy: WebhookPolicy, names: Collection[str]) -> dict[str, datetime]:
    """Of these receivers those that are to be left alone, until when; that may be over."""
    query = sa.select(receivers.c.name, receivers.c.paused_until)
    query = query.where(receivers.c.name.in_(sorted(names)), receivers.c.failures >= policy.failures_most)
    return {row.name: row.paused_until or tx.now for row in tx.execute(query)}


def _put_off(tx: Transaction, policy: WebhookPolicy, each: Delivery, until: datetime) -> bool:
    """Whether it is dead now: it has waited for too long."""
    dies = (tx.now - each.since).total_seconds() >= policy.give_up_s
    if dies:
        values = {"due_at": None, "died_at": tx.now, "last_error": each.last_error or "the receiver does not answer"}
    else:
        spread_s = policy.jitter * policy.pause_s * random.random()  # noqa: S311 (spreads load, hides nothing)
        values = {"due_at": until + timedelta(seconds=spread_s)}
    return tx.execute(_SETTLE, {**_taken(each), **values}).rowcount == 1 and dies


def _set_pause(name: str, until: datetime) -> sa.Update:
    return sa.update(receivers).where(receivers.c.name == name).values(paused_until=until)


def settle(tx: Transaction, sent: Delivery, decision: Decision, reason: str) -> None:
    """Write what became of a message that was taken. That it arrived is true however late it is known; else nothing
    is changed that somebody has taken again meanwhile."""
    mine = _taken(sent, tries=sent.tries + 1)
    match decision:
        case Arrived():
            tx.execute(_ARRIVED, {"this_id": sent.id, "due_at": None, "delivered_at": tx.now, "died_at": None})
        case Again(after_s):
            due_at = tx.now + timedelta(seconds=after_s)
            tx.execute(_SETTLE, {**mine, "due_at": due_at, "last_error": reason})
        case Dead(gone):
            buried = tx.execute(_SETTLE, {**mine, "due_at": None, "died_at": tx.now, "last_error": reason}).rowcount
            if buried and gone:
                _bury(tx, sent, reason)


def _bury(tx: Transaction, sent: Delivery, reason: str) -> None:
    """What else is to be sent to this very address for the same job is not wanted either."""
    same = (webhooks.c.job_id == sent.job_id) & (webhooks.c.url == sent.url) & webhooks.c.due_at.is_not(None)
    tx.execute(sa.update(webhooks).where(same).values(due_at=None, died_at=tx.now, last_error=reason))


def receiver_answered(tx: Transaction, name: str) -> None:
    """A receiver is there: whatever it failed before is forgotten."""
    tx.execute(_FORGIVE, {"this_name": name})


def receiver_failed(tx: Transaction, policy: WebhookPolicy, name: str, begun_at: datetime) -> float:
    """Count a failure of a receiver; gives for how many seconds it is left alone, 0 for not at all.

    `begun_at`: when the try began. Tries that were under way together have failed together: that is one failure.
    """
    first = tx.insert_new(receivers).returning(receivers.c.name)
    if tx.execute(first, {"name": name, "failures": 0}).first() is not None:
        # Whoever invents names would have the table grow without end.
        long_ago = tx.now - timedelta(seconds=_FORGOTTEN_S)
        tx.execute(sa.delete(receivers).where(receivers.c.failed_at < long_ago))
    failures = tx.execute(_FAILED, {"this_name": name, "begun_at": begun_at, "now": tx.now}).scalar()
    alone_s = 0.0 if failures is None else pause_s(policy, failures)
    if alone_s > 0:
        tx.execute(_set_pause(name, tx.now + timedelta(seconds=alone_s)))
    return alone_s


def replay(tx: Transaction, ids: Sequence[str], tenant: str | None = None) -> int:
    """Have messages sent (again) from now on, whatever became of them, and their receivers tried; gives how many.

    `tenant`: only that one's.
    """
    chosen = webhooks.c.id.in_(ids) & (sa.true() if tenant is None else webhooks.c.tenant == tenant)
    fresh = {"due_at": tx.now, "since": tx.now, "died_at": None, "delivered_at": None, "last_error": None}
    names = sa.select(webhooks.c.receiver).where(chosen)
    tx.execute(sa.delete(receivers).where(receivers.c.name.in_(names)))
    return tx.execute(sa.update(webhooks).where(chosen).values(**fresh)).rowcount


def _not_to(busy: Collection[str]) -> sa.ColumnElement[bool]:
    return webhooks.c.receiver.not_in(sorted(busy)) if busy else sa.true()


def _taken(each: Delivery, tries: int | None = None) -> dict[str, Any]:
    return {"this_id": each.id, "this_tries": each.tries if tries is None else tries}


def deliveries_of(rows: sa.CursorResult[Any]) -> list[Delivery]:
    """The messages in rows of `COLUMNS`."""
    return [Delivery(**{**row, "event": State(row["event"])}) for row in rows.mappings()]
