"""The reckoning of admission sees limits that were passed: shown on books that were cooked by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from schemas.jobs import State
from tests.chaos.orders import SMALL, THRIFTY
from tests.chaos.test_account import BOOKS, ORDER, ROW, USD, moments, promises
from tests.chaos.turns import Turns, turns

THRIFTY_BOOKS = replace(BOOKS, orders={"job": replace(ORDER, tenant=THRIFTY)}, most_open=2)
REFUSED = replace(ROW, state=State.FAILED, moments=moments(("accept", State.QUEUED, 1), ("refuse", State.FAILED, 2)))


def broken(made: Turns) -> list[str]:
    return [breach.promise for breach in made.breaches()]


@pytest.mark.parametrize(
    ("slots", "allowed_usd", "promises_broken"),
    [(2, USD, []), (1, USD, ["slots"]), (2, USD - Decimal("0.01"), ["budget"]), (2, None, [])],
    ids=["all used, none passed", "a slot too many", "a cent too many", "no budget"],
)
def test_limits_that_were_passed_are_seen(slots: int, allowed_usd: Decimal | None, promises_broken: list[str]) -> None:
    assert broken(turns(THRIFTY_BOOKS, slots=slots, allowed_usd=allowed_usd)) == promises_broken


def test_what_others_spent_does_not_count() -> None:
    assert turns(BOOKS, slots=2, allowed_usd=Decimal(0)).spent_usd == 0


def test_waits_are_told_by_tenant_and_refusals_are_counted() -> None:
    orders = {"job": replace(ORDER, tenant=SMALL), "poor": replace(ORDER, number=2, tenant=THRIFTY)}
    made = turns(replace(BOOKS, orders=orders, rows={"job": ROW, "poor": REFUSED}), slots=1, allowed_usd=USD)
    assert (made.waits_s, made.refused) == ({SMALL: [1.0]}, 1)
    assert "1 refused; waits p50/p95 s: small 1.0/1.0" in made.line()


@pytest.mark.parametrize(("tenant", "lost"), [(THRIFTY, []), (SMALL, ["lost"])])
def test_only_the_thrifty_tenant_may_be_refused(tenant: str, lost: list[str]) -> None:
    books = replace(BOOKS, orders={"job": replace(ORDER, tenant=tenant)}, rows={"job": REFUSED})
    nothing = {"created": {}, "billed": [], "billed_usd": {}, "charged_usd": {}, "owner": {}}
    assert promises(replace(books, **nothing)) == lost
