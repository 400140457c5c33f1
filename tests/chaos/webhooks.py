"""The reckoning of webhooks: what callers' receivers took, compared with what the timelines say that they were owed.

Pure: calls and secrets were collected before.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from standardwebhooks.webhooks import Webhook

from schemas.jobs import TERMINAL, State
from tests.chaos.account import Breach
from tests.chaos.books import Books, Moment, Told
from tests.chaos.orders import DROPIN, Order
from tests.support.receiver import Call

_TOLD: Final = frozenset({State.GENERATING, State.COMPLETED, State.FAILED, State.CANCELLED})
"""States that a caller is told of: said here once more, so that the reckoning does not repeat a mistake of the code."""


@dataclass(frozen=True, slots=True)
class Webhooks:
    """What became of the webhooks of a run. `tries`: messages that reached the receiver; `taken`: that it took."""

    jobs: int
    owed: int
    tries: int
    taken: int
    lost: tuple[Breach, ...]

    def line(self) -> str:
        return (
            f"webhooks: {self.owed} events of {self.jobs} jobs were to be told; the receiver was called {self.tries} "
            f"times, and took {self.taken}"
        )


def told_by(
    calls: Iterable[Call], orders: Mapping[str, Order], secrets: Mapping[str, Sequence[str]]
) -> dict[str, list[Told]]:
    """What callers were told, by job: of the messages that they took those that are signed, and about their own job.

    `orders`: by job. `secrets`: by tenant, as its receivers are given them.
    """
    jobs = {order.hook: job_id for job_id, order in orders.items()}
    found: dict[str, list[Told]] = {}
    for call in calls:
        job_id = jobs.get(call.path)
        if job_id is None or not _was_taken(call) or not is_signed(call, secrets.get(orders[job_id].tenant, ())):
            continue
        said = call.said
        if said.get("data", said)["id"] == job_id:
            told = Told(call.id, said.get("type"), said.get("seq"), said.get("status"))
            found.setdefault(job_id, []).append(told)
    return found


def _was_taken(call: Call) -> bool:
    return call.status is not None and call.status < 300


def is_signed(call: Call, secrets: Sequence[str]) -> bool:
    """Whether one of these secrets has signed the message, by the reference library."""
    at = datetime.fromtimestamp(int(call.headers["webhook-timestamp"]), UTC)
    given = call.headers["webhook-signature"].split()
    right = [Webhook(secret).sign(call.id, at, call.body.decode()) for secret in secrets]
    return any(hmac.compare_digest(one, each) for one in right for each in given)


def webhooks(books: Books, calls: Sequence[Call]) -> Webhooks:
    """What became of the webhooks of the jobs in the books."""
    events = _owed(books)
    return Webhooks(
        jobs=len(events),
        owed=sum(map(len, events.values())),
        tries=len(calls),
        taken=sum(map(len, books.told.values())),
        lost=tuple(_untold(books)),
    )


def _owed(books: Books) -> dict[str, list[Moment]]:
    """What callers were to be told of, by job."""
    return {
        job_id: [moment for moment in books.rows[job_id].moments if moment.state in _TOLD]
        for job_id, order in books.asked.items()
        if order.called_back and job_id in books.rows
    }


def _untold(books: Books) -> Iterator[Breach]:
    """Events that a caller never learned of, each by itself."""
    for job_id, moments in _owed(books).items():
        told = books.told.get(job_id, ())
        missing = _unnamed if books.asked[job_id].door == DROPIN else _unheard
        for moment in missing(moments, told):
            yield Breach("webhooks", job_id, f"its caller was never told: job.{moment.state}, change {moment.seq}")


def _unheard(moments: Sequence[Moment], told: Sequence[Told]) -> list[Moment]:
    heard = {(each.event, each.seq) for each in told}
    return [moment for moment in moments if (f"job.{moment.state}", moment.seq) not in heard]


def _unnamed(moments: Sequence[Moment], told: Sequence[Told]) -> list[Moment]:
    """Of task objects, which name no event: there is one message for each, and one shows the end.

    The last ones are taken for missing, and so is an end that none shows.
    """
    heard = len({each.message_id for each in told})
    shown = {each.status for each in told}
    ends = [moment for moment in moments if moment.state in TERMINAL][-1:]
    unshown = [end for end in ends if ("completed" if end.state is State.COMPLETED else "failed") not in shown]
    return [moment for moment in moments if moment in moments[heard:] or moment in unshown]
