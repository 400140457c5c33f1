"""Where to look, given how long such tasks take."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tasks.domain.lookplan import Bounds, LookPlan
from tests.unit.domain.sketches import of

BOUNDS = Bounds(lag=2.5, longest=15)


def test_no_look_is_spent_where_nothing_ends() -> None:
    plan = LookPlan(of(*[20.0] * 40, *[100.0] * 40), BOUNDS)
    assert plan.next_after(0) == pytest.approx(20, rel=0.03)
    assert plan.next_after(21) == pytest.approx(36)  # 15 s later at most, in between too
    assert plan.next_after(70) == pytest.approx(100, rel=0.03)


def test_where_ends_are_likely_a_look_follows_within_the_lag() -> None:
    plan = LookPlan(of(*[10 + 0.5 * n for n in range(80)]), BOUNDS)
    assert plan.next_after(20) == pytest.approx(22.5)
    assert plan.next_after(22.5) == pytest.approx(25)


def test_beyond_all_that_was_seen_looks_are_ever_further_apart_up_to_the_longest() -> None:
    plan = LookPlan(of(*[20.0] * 100), BOUNDS)
    looks = [20.3]
    while looks[-1] < 200:
        looks.append(plan.next_after(looks[-1]))
    gaps = [later - earlier for earlier, later in pairwise(looks)]
    assert gaps == pytest.approx(sorted(gaps))
    assert gaps[0] < 2
    assert gaps[-1] == pytest.approx(15)


def test_a_rare_end_is_left_out_only_for_a_share_of_the_age() -> None:
    plan = LookPlan(of(*[20.0] * 60, *[1000.0] * 60), BOUNDS)
    assert plan.next_after(100) == pytest.approx(150)
