"""The guards on which money hangs are missed when they are gone; `make mutants` tries all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.mutants.catalogue import BY_NAME, MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.rewriting import Stale, rewrite, undo_all
from tests.mutants.trying import run, verdict

MONEY = (
    "attempt-after-answer",
    "retry-on-time-out",
    "lost-create-queued-again",
    "any-event-in-any-state",
    "claim-without-lease",
    "charge-each-time",
    "late-answer-ignored",
    "no-fsync-before-rename",
    "no-sweep",
)


@pytest.fixture(autouse=True)
def guards_put_back() -> Iterator[None]:
    yield
    undo_all()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_guard_is_where_its_mutant_expects_it(mutant: Mutant) -> None:
    mutant.apply()


def test_a_guard_that_is_not_there_is_told_as_such() -> None:
    with pytest.raises(Stale, match="stands there 0 times"):
        rewrite(verdict, "no such line", "")


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(MUTANTS)


def test_a_mutant_that_nobody_notices_is_no_catch() -> None:
    unnoticed = "tests/unit/test_failpoints.py::test_unarmed_a_place_costs_one_look"
    assert run([unnoticed], BY_NAME["charge-each-time"]).passed
    assert not run([f"{unnoticed}_or_not"], BY_NAME["charge-each-time"]).caught


@pytest.mark.parametrize("name", MONEY)
def test_a_missing_guard_is_caught(name: str) -> None:
    assert verdict(BY_NAME[name]) is None
