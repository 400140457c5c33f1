"""The soak's arithmetic: what counts as flat memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos.soak import KILL_EVERY_S, grown, growth_mb, soak_plan


def samples(size: Callable[[int], float], name: str = "lanes") -> list[tuple[float, dict[str, float]]]:
    return [(60.0 * minute, {name: size(minute)}) for minute in range(30)]


@pytest.mark.parametrize(
    ("size", "flat"),
    [
        (lambda _minute: 100.0, True),
        (lambda minute: 100.0 + (minute % 2) * 6, True),
        (lambda minute: 60.0 + min(minute, 14) * 4, True),
        (lambda minute: 100.0 + 2 * minute, False),
        (lambda minute: 20.0 + 0.5 * minute, True),
    ],
    ids=["level", "up and down", "grown by the middle", "two megabytes a minute", "less than the noise"],
)
def test_memory_that_grows_in_the_second_half_is_seen(size: Callable[[int], float], flat: bool) -> None:
    assert (grown(growth_mb(samples(size))) == []) is flat


def test_the_simulator_is_shown_and_not_judged() -> None:
    growth = growth_mb(samples(lambda minute: 100.0 + 5 * minute, "simulator"))
    assert growth["simulator"][1] == pytest.approx(70.0)
    assert grown(growth) == []


def test_workers_that_are_measured_live_through_the_second_half() -> None:
    plan = soak_plan(1, hours=0.5, rate=20)
    assert len(plan.orders) == 36_000
    late = [blow.target for blow in plan.blows if blow.at_s > 900]
    assert len(late) == 900 / KILL_EVERY_S
    assert set(late) == {"finish child"}
