"""What a provider task cost: as reported, or estimated from the price list and marked so. And what one is expected to.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from .answers import Usage

MICRO_USD: Final = Decimal("0.000001")
"""The smallest amount that the ledger tells apart."""


@dataclass(frozen=True, slots=True)
class Price:
    """An amount to charge. `estimated` says that the provider gave none that could be read."""

    amount_usd: Decimal
    estimated: bool


@dataclass(frozen=True, slots=True)
class Charged:
    """A charge that was written: the price, and what for."""

    model: str
    key_alias: str
    price: Price


def price_of(usage: Usage, estimate_usd: Decimal) -> Price:
    """The price of a task that has ended: the provider's figure where it gave one, else the price list's."""
    if usage.cost_usd is None:
        return Price(estimate_usd.quantize(MICRO_USD), estimated=True)
    return Price(usage.cost_usd.quantize(MICRO_USD), estimated=False)


_ENOUGH: Final = 5


def expected_usd(estimate_usd: Decimal, latest_usd: Sequence[Decimal]) -> Decimal:
    """What a film is expected to cost at most: what is held for it in the budgets.

    `estimate_usd` is the list price; `latest_usd` what the latest films of the same shape did cost. The dearest of
    these, once there are enough to go by; before that the list price, where it is not below them.
    """
    if len(latest_usd) >= _ENOUGH:
        return max(latest_usd)
    return max([estimate_usd, *latest_usd])
