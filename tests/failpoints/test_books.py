"""The judge of a run of deaths sees each kind of broken promise: shown on books that were cooked by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from schemas.jobs import State
from tests.failpoints.books import Books, judge

ENDS = frozenset({State.COMPLETED})


def attempt(job_id: str, outcome: str, task: str | None, reason: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(job_id=job_id, outcome=outcome, provider_task_id=task, reason=reason)


BOOKS = Books(
    ends={"older": frozenset({State.COMPLETED, State.FAILED}), "job": ENDS},
    states={"older": State.FAILED, "job": State.COMPLETED},
    attempts=[attempt("older", "unknown", None, "read timeout"), attempt("job", "accepted", "task-1")],
    films=["job"],
    owed=["message"],
    told=["message", "message"],
    created={"job": ["task-1"]},
    billed=["task-1"],
)


def test_books_that_agree_hold() -> None:
    assert judge(BOOKS, bill_matches=True).holds
    assert not judge(BOOKS, bill_matches=False).holds


def test_a_second_create_of_a_job_is_seen_even_while_an_older_one_is_in_doubt() -> None:
    twice = replace(BOOKS, created={"job": ["task-1", "task-2"]}, billed=["task-1", "task-2"])
    assert judge(twice, bill_matches=True).created_twice == 1


def test_a_webhook_that_never_came_is_seen() -> None:
    assert "1 webhooks" in judge(replace(BOOKS, told=[]), bill_matches=True).unexplained


def test_a_second_attempt_that_may_have_been_sent_is_seen() -> None:
    again = attempt("job", "unknown", None, "read timeout")
    assert judge(replace(BOOKS, attempts=[*BOOKS.attempts, again]), bill_matches=True).created_twice == 1
    unsent = attempt("job", "unsent", None)
    assert judge(replace(BOOKS, attempts=[*BOOKS.attempts, unsent]), bill_matches=True).holds


@pytest.mark.parametrize(
    "books",
    [
        replace(BOOKS, states={"older": State.FAILED}),
        replace(BOOKS, states={**BOOKS.states, "job": State.FAILED}),
        replace(BOOKS, states={**BOOKS.states, "job": State.CANCELLED}),
        replace(BOOKS, films=[]),
    ],
    ids=["not in the ledger", "failed", "cancelled by nobody", "completed without a film"],
)
def test_a_lost_job_is_seen(books: Books) -> None:
    assert judge(books, bill_matches=True).lost == 1


@pytest.mark.parametrize(
    "books",
    [
        replace(BOOKS, created={"job": ["task-1"], "": ["task-9"]}, billed=["task-1", "task-9"]),
        replace(BOOKS, billed=["task-1", "task-9"]),
        replace(BOOKS, attempts=[attempt("older", "unknown", None), BOOKS.attempts[1]]),
    ],
    ids=["a task of nobody", "a task without a witness", "a doubt without evidence"],
)
def test_what_is_not_explained_is_said(books: Books) -> None:
    assert judge(books, bill_matches=True).unexplained
