"""What a task cost, and what one is expected to."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tasks.domain.answers import Usage
from tasks.domain.prices import Price, expected_usd, price_of


@pytest.mark.parametrize(
    ("cost", "price"),
    [
        (Decimal("0.28"), Price(Decimal("0.28"), estimated=False)),
        (Decimal(0), Price(Decimal(0), estimated=False)),
        (None, Price(Decimal("0.56"), estimated=True)),
        (Decimal("0.1234567"), Price(Decimal("0.123457"), estimated=False)),
    ],
)
def test_the_reported_cost_counts_else_the_price_list(cost: Decimal | None, price: Price) -> None:
    assert price_of(Usage(cost), Decimal("0.56")) == price


@pytest.mark.parametrize(
    ("latest", "expected"),
    [
        ([], "0.28"),
        (["0.20"], "0.28"),
        (["0.30"], "0.30"),
        (["0.20"] * 4 + ["0.25"], "0.25"),
        (["0.31"] * 5, "0.31"),
    ],
)
def test_charges_correct_the_list_price_once_there_are_enough(latest: list[str], expected: str) -> None:
    assert expected_usd(Decimal("0.28"), [Decimal(each) for each in latest]) == Decimal(expected)
