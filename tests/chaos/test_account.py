"""The reckoning sees each kind of broken promise: shown on books that were cooked by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from schemas.jobs import State
from tests.chaos.account import reckon
from tests.chaos.books import Attempt, Books, Moment, Row
from tests.chaos.harm import Done
from tests.chaos.orders import DOORS, Order

T0 = datetime(2026, 1, 1, tzinfo=UTC)
ORDER = Order(number=1, kind="plain", picture=0, at_s=0, cancel_after_s=None, twice=False)
USD = Decimal("0.10")


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def moments(*events: tuple[str, State, float]) -> tuple[Moment, ...]:
    return tuple(Moment(event, state, at(seconds)) for event, state, seconds in events)


WAY = moments(
    ("accept", State.QUEUED, 1),
    ("admit", State.ADMITTED, 2),
    ("begin", State.CREATING, 3),
    ("accepted", State.GENERATING, 4),
    ("completed", State.DOWNLOADING, 6),
    ("stored", State.RECORDING, 7),
    ("charged", State.COMPLETED, 8),
)
ATTEMPT = Attempt(at(3), at(4), "accepted", 200, None, "task-1")
ROW = Row(State.COMPLETED, WAY, (ATTEMPT,), (("default/job/0.mp4", 10),))
BOOKS = Books(
    orders={"job": ORDER},
    confirmed_at={"job": at(0)},
    rows={"job": ROW},
    created={ORDER.mark: ["task-1"]},
    billed=["task-1"],
    ended_at={"task-1": at(5)},
    billed_usd={"task-1": USD},
    charged_usd={"task-1": USD},
    owner={"task-1": "job"},
)


def promises(books: Books, harm: list[Done] | None = None) -> list[str]:
    return [breach.promise for breach in reckon(books, harm or []).breaches]


def killed(part: str, seconds: float) -> list[Done]:
    return [Done(f"{what} {part}", at(seconds), at(seconds)) for what in ("kill", "died")]


def test_books_that_agree_break_no_promise() -> None:
    result = reckon(BOOKS, [])
    assert (result.lost, result.paid_twice, result.uncertain, result.bill_matches) == (0, 0, 0, True)
    assert result.breaches == ()


@pytest.mark.parametrize(
    "rows",
    [
        {},
        {"job": replace(ROW, state=State.GENERATING, moments=WAY[:4])},
        {"job": replace(ROW, files=())},
        {"job": ROW, "stranger": ROW},
    ],
    ids=["not in the ledger", "never ended", "completed without a film", "submitted by nobody"],
)
def test_a_lost_job_is_seen(rows: dict[str, Row]) -> None:
    assert promises(replace(BOOKS, rows=rows)) == ["lost"]


def through_every_door() -> Books:
    """A job through each door, all completed."""
    orders = {door: replace(ORDER, number=number, door=door) for number, door in enumerate(DOORS)}
    tasks = {door: f"task-{door}" for door in DOORS}
    return replace(
        BOOKS,
        orders=orders,
        confirmed_at={door: at(0) for door in DOORS},
        rows={door: replace(ROW, attempts=(replace(ATTEMPT, provider_task_id=tasks[door]),)) for door in DOORS},
        created={orders[door].mark: [tasks[door]] for door in DOORS},
        billed=list(tasks.values()),
        ended_at={},
        billed_usd=dict.fromkeys(tasks.values(), USD),
        charged_usd=dict.fromkeys(tasks.values(), USD),
        owner={task: door for door, task in tasks.items()},
    )


def without(books: Books, job_id: str) -> Books:
    """The same, but nothing came of a job."""
    mark = {**books.orders, **books.unanswered}[job_id].mark
    (task,) = books.created[mark]
    return replace(
        books,
        rows={each: row for each, row in books.rows.items() if each != job_id},
        created={each: tasks for each, tasks in books.created.items() if each != mark},
        billed=[each for each in books.billed if each != task],
        billed_usd={each: usd for each, usd in books.billed_usd.items() if each != task},
        charged_usd={each: usd for each, usd in books.charged_usd.items() if each != task},
        owner={each: job for each, job in books.owner.items() if each != task},
    )


def test_doors_are_counted_by_what_they_completed() -> None:
    result = reckon(through_every_door(), [])
    assert (result.breaches, result.doors) == ((), 5)


@pytest.mark.parametrize("door", DOORS)
def test_a_job_that_its_door_confirmed_and_nobody_knows_is_lost(door: str) -> None:
    result = reckon(without(through_every_door(), door), [])
    assert [(breach.promise, breach.job_id) for breach in result.breaches] == [("lost", door)]
    assert (result.lost, result.doors) == (1, 4)


@pytest.mark.parametrize("door", DOORS)
def test_what_nobody_was_told_of_may_be_a_job_or_none_but_is_never_paid_twice(door: str) -> None:
    every = through_every_door()
    told = {each: order for each, order in every.orders.items() if each != door}
    books = replace(every, orders=told, unanswered={door: every.orders[door]})
    assert promises(books) == []
    assert promises(without(books, door)) == []
    again = f"task-{door}-again"
    twice = replace(
        books,
        created={**books.created, every.orders[door].mark: [f"task-{door}", again]},
        billed=[*books.billed, again],
        billed_usd={**books.billed_usd, again: USD},
        charged_usd={**books.charged_usd, again: USD},
        owner={**books.owner, again: door},
    )
    assert promises(twice) == ["paid_twice"]


def ended(event: str, state: State, error: str | None = None, *, after: int = 5) -> Books:
    moment = Moment(event, state, at(9))
    row = replace(ROW, state=state, moments=(*WAY[:after], moment), files=(), error=error)
    return replace(BOOKS, rows={"job": row})


@pytest.mark.parametrize(
    "books",
    [
        replace(
            ended("rejected", State.FAILED, "request_unusable", after=2),
            created={},
            billed=[],
            billed_usd={},
            charged_usd={},
            owner={},
        ),
        ended("unstorable", State.FAILED, "output_not_stored"),
        ended("cancel", State.CANCELLED),
        ended("failed", State.FAILED, "generation_failed", after=4),
    ],
    ids=["never created", "paid and never delivered", "cancelled by nobody", "failed without a script"],
)
def test_a_job_that_ended_though_nobody_meant_it_to_is_lost(books: Books) -> None:
    assert promises(books) == ["lost"]


@pytest.mark.parametrize(
    ("books", "kind"),
    [
        (ended("failed", State.FAILED, after=4), "failed"),
        (ended("failed", State.FAILED, after=4), "failed-paid"),
        (ended("rejected", State.FAILED, after=3), "refused"),
        (ended("write_off", State.FAILED, "written_off", after=3), "plain"),
    ],
)
def test_a_job_that_was_to_fail_or_was_given_up_is_not_lost(books: Books, kind: str) -> None:
    assert promises(replace(books, orders={"job": replace(ORDER, kind=kind)})) == []


def test_a_job_that_somebody_cancelled_is_not_lost() -> None:
    books = ended("cancel", State.CANCELLED)
    assert promises(replace(books, orders={"job": replace(ORDER, cancel_after_s=1.0)})) == []
    assert promises(replace(books, cancelled={"job"})) == []


def test_a_second_create_is_seen_unless_it_was_asked_for() -> None:
    twice = replace(
        BOOKS,
        created={ORDER.mark: ["task-1", "task-2"]},
        billed=["task-1", "task-2"],
        billed_usd={"task-1": USD, "task-2": USD},
    )
    assert promises(twice) == ["paid_twice", "bill"]
    charged = {"task-1": USD, "task-2": USD}
    paid = replace(twice, charged_usd=charged, owner={"task-1": "job", "task-2": "job"})
    anew = replace(ROW, moments=(*WAY[:4], Moment("anew", State.QUEUED, at(4.5)), *WAY[4:]))
    both = replace(anew, attempts=(ATTEMPT, replace(ATTEMPT, provider_task_id="task-2")))
    assert promises(replace(paid, rows={"job": both})) == []
    assert promises(replace(paid, rows={"job": replace(both, moments=WAY)})) == ["paid_twice"]


def test_a_create_anew_where_the_provider_has_nothing_allows_no_second_one() -> None:
    anew = Moment("anew", State.QUEUED, at(4.5))
    nothing = replace(ATTEMPT, outcome="unknown", reason="read timeout", provider_task_id=None)
    row = replace(ROW, moments=(*WAY[:4], anew, *WAY[4:]), attempts=(nothing, ATTEMPT))
    assert promises(replace(BOOKS, rows={"job": row})) == []
    twice = replace(BOOKS, created={ORDER.mark: ["task-1", "task-2"]}, billed=["task-1", "task-2"])
    assert promises(replace(twice, rows={"job": row})) == ["paid_twice"]


def test_a_create_that_only_the_bill_knows_is_seen() -> None:
    assert promises(replace(BOOKS, billed=["task-1", "task-9"])) == ["paid_twice"]


@pytest.mark.parametrize(
    ("billed", "charged"),
    [({"task-1": USD}, {}), ({}, {"task-1": USD}), ({"task-1": USD}, {"task-1": Decimal("0.11")})],
    ids=["not charged", "charged without a bill", "a cent more"],
)
def test_a_cent_of_difference_is_seen(billed: dict[str, Decimal], charged: dict[str, Decimal]) -> None:
    assert not reckon(replace(BOOKS, billed_usd=billed, charged_usd=charged), []).bill_matches


def test_an_uncertain_job_needs_evidence_and_a_reason() -> None:
    doubt = (*WAY[:3], Moment("unknown", State.UNCERTAIN, at(4)), *WAY[3:])
    unknown = replace(ATTEMPT, outcome="unknown", http_status=None, reason="the worker was lost during the create")
    books = replace(BOOKS, rows={"job": replace(ROW, moments=doubt, attempts=(unknown,))})
    assert promises(books) == ["uncertain"]
    assert promises(books, killed("create", 3.5)) == []
    assert promises(books, killed("lanes", 3.5)) == ["uncertain"]
    assert promises(books, killed("create", 9)) == ["uncertain"]
    scripted = replace(books, orders={"job": replace(ORDER, kind="create-no_id")})
    assert promises(scripted) == []
    silent = replace(ROW, moments=doubt, attempts=(replace(unknown, reason=None),))
    assert promises(replace(scripted, rows={"job": silent})) == ["uncertain"]
    assert reckon(scripted, []).uncertain == 1


@pytest.mark.parametrize(
    ("harmed_at", "waited_s"),
    [(0.5, 0.5), (1.5, 0), (2.5, 0.5), (4.5, 0), (5.5, 0.5), (6.25, 0.75), (9, 0)],
    ids=["in the stream", "queued", "admitted", "still generating", "ended, not seen", "downloading", "completed"],
)
def test_a_rescue_is_from_the_harm_to_the_next_row_where_work_was_due(harmed_at: float, waited_s: float) -> None:
    assert reckon(BOOKS, [Done("wipe", at(harmed_at), at(harmed_at))]).rescue_p99_s == waited_s


def test_a_rescue_of_more_than_thirty_seconds_is_seen() -> None:
    late = replace(ROW, moments=(*WAY[:6], Moment("charged", State.COMPLETED, at(40))))
    assert promises(replace(BOOKS, rows={"job": late}), [Done("kill finish", at(7.5), at(7.5))]) == ["rescue"]


def test_a_worker_that_ends_though_nobody_killed_it_is_seen() -> None:
    burnt = [Done("create.after_post", at(20), at(20)), Done("died create", at(20.5), at(20.5))]
    broker = [Done("broker SIGTERM", at(30), at(30)), Done("died valkey", at(30), at(30))]
    assert promises(BOOKS, [*killed("lanes", 10), *burnt, *broker]) == []
    assert promises(BOOKS, [*killed("lanes", 10), *burnt, *broker, Done("died finish", at(32), at(32))]) == ["workers"]
    assert promises(BOOKS, [Done("kill lanes", at(10), at(10)), Done("died finish", at(11), at(11))]) == ["workers"]
    # Neither the broker's death nor one that has a kill of its own takes the fuse that explains another.
    both = [burnt[0], Done("died valkey", at(20.1), at(20.1)), *killed("lanes", 20.2), burnt[1]]
    assert promises(BOOKS, both) == []
