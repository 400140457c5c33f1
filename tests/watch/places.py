"""Where every alert's trouble is made."""

from __future__ import annotations

from tests.watch.faults import Place
from tests.watch.of_provider import MONEY, provider_place
from tests.watch.of_stack import DISK, LANES, PARTS, POOLS


def places(slow_s: float) -> tuple[Place, ...]:
    """All of them. `slow_s`: above how many seconds a create is slow, by the rules that are waited for."""
    return (PARTS, LANES, POOLS, DISK, provider_place(slow_s), MONEY)
