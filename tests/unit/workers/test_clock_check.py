"""What `doctor` says of clocks."""

from __future__ import annotations

import time

import pytest

from workers.cli.clocks import ahead_s, clock_check


def test_clocks_that_are_off_are_named_with_what_to_do() -> None:
    check = clock_check({"redis": 0.4, "database": -75.0, "provider": 12.0})
    assert (check.verdict, check.found) == ("warning", "database is 75 s behind, provider is 12 s ahead")
    assert "NTP" in check.todo


@pytest.mark.parametrize("ahead", [{}, {"redis": 4.9}, {"redis": -4.9, "provider": 0.0}])
def test_small_differences_and_none_to_compare_with_are_well(ahead: dict[str, float]) -> None:
    assert clock_check(ahead).verdict == "ok"


def test_the_time_that_an_answer_took_is_no_difference() -> None:
    now = time.time()
    assert ahead_s(now - 5, now - 10) == 0
    assert ahead_s(now - 30, now - 10) == pytest.approx(-20)
    assert ahead_s(now + 30, now - 10) == pytest.approx(30, abs=1)
