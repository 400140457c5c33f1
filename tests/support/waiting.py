"""Waiting for a condition, with a bound: what tests do instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], *, within_s: float = 20.0, what: str = "the condition") -> T:
    """The first true value that `condition` gives; fails the test when none came in time."""
    ends_at = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > ends_at:
            raise AssertionError(f"{what} did not come true within {within_s:g} s")
        time.sleep(0.02)
