"""What may still be spent: what stands in the way of a job, and what it is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from tasks.domain.budgets import EVERYONE, Budget, Period, Purse, Refused, Waits, WhenUsedUp

USD = Decimal("0.28")


def budget(limit: str, tenant: str = "t", used: str = "0", **more: object) -> Budget:
    made = Budget(tenant, Period.DAY, Decimal(limit), WhenUsedUp.WAIT, Decimal(used))
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("budgets", "kind"),
    [
        ([], type(None)),
        ([budget("1")], type(None)),
        ([budget("1", used="0.72")], type(None)),
        ([budget("1", used="0.720001")], Waits),
        ([budget("1", used="0.9", when_used_up=WhenUsedUp.REFUSE)], Refused),
        ([budget("0.27")], Refused),  # it could never be paid
        ([budget("1", EVERYONE, "0.9")], Waits),
        ([budget("1", "other", "1")], type(None)),
        ([budget("9"), budget("1", used="1", period=Period.MONTH)], Waits),
    ],
)
def test_what_stands_in_the_way(budgets: list[Budget], kind: type) -> None:
    assert type(Purse(budgets).judge("t", USD)) is kind


def test_a_refusal_names_the_budget() -> None:
    verdict = Purse([budget("1", EVERYONE, "0.9", when_used_up=WhenUsedUp.REFUSE)]).judge("t", USD)
    assert isinstance(verdict, Refused)
    assert verdict.reason == "the budget of all tenants a day (1 USD) is used up"


@pytest.mark.parametrize(
    ("whose", "in_doubt", "kind"),
    [
        ("t", {"t": "0.18"}, Waits),
        ("t", {"t": "0.17"}, Refused),  # even if all of it came back there would not be enough
        ("t", {"other": "0.9"}, Refused),
        (EVERYONE, {"t": "0.08", "other": "0.1"}, Waits),
        (EVERYONE, {"t": "0.08", "other": "0.09"}, Refused),
    ],
)
def test_what_may_come_back_is_waited_for_and_not_refused(whose: str, in_doubt: dict[str, str], kind: type) -> None:
    used_up = [budget("1", whose, "0.9", when_used_up=WhenUsedUp.REFUSE)]
    purse = Purse(used_up, {tenant: Decimal(usd) for tenant, usd in in_doubt.items()})
    assert type(purse.judge("t", USD)) is kind


def test_a_month_begins_on_its_first_day() -> None:
    assert Period.MONTH.first_day(date(2026, 2, 28)) == date(2026, 2, 1)
    assert Period.DAY.first_day(date(2026, 2, 28)) == date(2026, 2, 28)
