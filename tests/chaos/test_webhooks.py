"""The reckoning of webhooks sees each event that a caller never learned of: shown on calls that were made by hand."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from schemas.jobs import State
from tests.chaos.books import Books
from tests.chaos.orders import BIG, DROPIN
from tests.chaos.test_account import BOOKS, ORDER, ROW, WAY
from tests.chaos.webhooks import Webhooks, told_by, webhooks
from tests.support.receiver import Call

SECRET, ANOTHER = (f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2))
TOLD = replace(ORDER, called_back=True)
DROPPED_IN = replace(TOLD, door=DROPIN)
MOMENTS = tuple(replace(moment, seq=number) for number, moment in enumerate(WAY, 1))
GENERATING, COMPLETED = 4, 7


def called(
    said: Any, message: str, *, secrets: tuple[str, ...] = (SECRET,), status: int | None = 204, path: str = TOLD.hook
) -> Call:
    body, at = json.dumps(said), datetime(2026, 1, 1, tzinfo=UTC)
    headers = {
        "webhook-id": message,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message, at, body) for secret in secrets),
    }
    return Call(path, headers, body.encode(), status)


def event(state: str, seq: int, job_id: str = "job", **how: Any) -> Call:
    return called({"type": f"job.{state}", "seq": seq, "data": {"id": job_id}}, f"message-{seq}", **how)


def task(status: str, message: str) -> Call:
    return called({"id": "job", "status": status}, message)


FIRST, LAST = event("generating", GENERATING), event("completed", COMPLETED)


def reckoned(calls: list[Call], order: Any = TOLD, state: State = State.COMPLETED) -> Webhooks:
    moments = (*MOMENTS[:-1], replace(MOMENTS[-1], state=state))
    books: Books = replace(BOOKS, orders={"job": order}, rows={"job": replace(ROW, state=state, moments=moments)})
    return webhooks(replace(books, told=told_by(calls, books.orders, {BIG: [ANOTHER, SECRET]})), calls)


def lost(calls: list[Call], order: Any = TOLD, state: State = State.COMPLETED) -> list[str]:
    return [
        breach.sentence.removeprefix("its caller was never told: ") for breach in reckoned(calls, order, state).lost
    ]


def test_whoever_was_told_everything_lost_nothing() -> None:
    made = reckoned([FIRST, event("generating", GENERATING), event("completed", COMPLETED, status=500), LAST])
    assert (made.jobs, made.owed, made.tries, made.taken, made.lost) == (1, 2, 4, 3, ())


def test_the_order_of_messages_and_who_of_two_secrets_signed_are_nobodys_loss() -> None:
    assert lost([LAST, event("generating", GENERATING, secrets=(ANOTHER, SECRET))]) == []


@pytest.mark.parametrize(
    "second",
    [
        None,
        event("completed", COMPLETED, status=500),
        event("completed", COMPLETED, status=None),
        event("completed", COMPLETED, secrets=("whsec_" + "A" * 44,)),
        event("completed", COMPLETED, path="/hooks/another"),
        event("completed", COMPLETED, job_id="another"),
        event("completed", GENERATING),
        event("failed", COMPLETED),
    ],
    ids=["never sent", "not taken", "not answered", "signed by nobody", "sent elsewhere", "of another", "seq", "event"],
)
def test_an_event_that_its_caller_never_learned_of_is_lost(second: Call | None) -> None:
    assert lost([FIRST, *([second] if second else [])]) == ["job.completed, change 7"]


def test_a_body_that_was_changed_on_its_way_is_not_signed() -> None:
    forged = replace(LAST, body=LAST.body.replace(b"job.completed", b"job.cancelled"))
    assert lost([FIRST, forged]) == ["job.completed, change 7"]


def test_a_caller_who_wants_nothing_is_owed_nothing() -> None:
    assert reckoned([], ORDER).owed == 0


def test_a_caller_who_got_no_answer_at_the_door_is_told_all_the_same() -> None:
    books = replace(BOOKS, orders={}, unanswered={"job": TOLD}, rows={"job": replace(ROW, moments=MOMENTS)})
    assert len(webhooks(books, []).lost) == 2


@pytest.mark.parametrize(
    ("calls", "state", "missing"),
    [
        ([task("completed", "a"), task("completed", "b")], State.COMPLETED, []),
        ([task("in_progress", "a"), task("failed", "b")], State.CANCELLED, []),
        ([task("completed", "a"), task("completed", "a")], State.COMPLETED, ["job.completed, change 7"]),
        ([task("in_progress", "a"), task("in_progress", "b")], State.COMPLETED, ["job.completed, change 7"]),
        ([task("in_progress", "a"), task("completed", "b")], State.FAILED, ["job.failed, change 7"]),
        ([], State.COMPLETED, ["job.generating, change 4", "job.completed, change 7"]),
    ],
    ids=["the end twice", "both", "one message twice", "no end", "another end", "nothing"],
)
def test_task_objects_are_told_apart_by_their_messages_and_show_the_end(
    calls: list[Call], state: State, missing: list[str]
) -> None:
    assert lost(calls, DROPPED_IN, state) == missing
