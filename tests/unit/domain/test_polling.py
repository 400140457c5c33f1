"""The poll schedule: one function from what is known to the next delay."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.knowledge import Known
from tasks.domain.polling import PollPolicy, next_look_s
from tests.bench.polling import LAWS, Provider, fixed, ours, simulate
from tests.unit.domain.sketches import known_of

POLICY = PollPolicy(first_s=10, interval_s=5, overdue_after_s=1000, overdue_interval_s=60, jitter=0.1)

TWENTY = known_of(POLICY, *[20.0] * 50)
WIDE = known_of(POLICY, *[20.0 + n for n in range(60)], ratios=(1.0,) * 50)


class TestFixed:
    """Where nothing is known."""

    @pytest.mark.parametrize(
        ("age_s", "polls", "retry_after_s", "spread", "delay_s"),
        [
            (0, 0, None, 0.5, 10),
            (0, 0, None, 0.0, 9),
            (20, 1, None, 0.5, 5),
            (20, 1, None, 0.0, 4.5),
            (1000, 9, None, 0.5, 60),
            (20, 1, 30.0, 0.5, 30),
            (20, 1, 1.0, 0.5, 5),
        ],
    )
    def test_table(self, age_s: float, polls: int, retry_after_s: float | None, spread: float, delay_s: float) -> None:
        found = next_look_s(POLICY, age_s=age_s, polls=polls, retry_after_s=retry_after_s, spread=spread)
        assert found == pytest.approx(delay_s)


class TestByWhatIsKnown:
    @pytest.mark.parametrize(
        ("given", "delay_s"),
        [
            ({"age_s": 0, "polls": 0}, 20),
            ({"age_s": 15, "polls": 0}, 5),
            # Never looked at, and its time is past: it may have ended long ago.
            ({"age_s": 90, "polls": 0}, 0),
            ({"age_s": 10, "polls": 1}, 10),
            # Just before the likely end there is a shortest delay.
            ({"age_s": 20.05, "polls": 1}, 0.5),
            # Longer than any took: ever later, and three intervals at most.
            ({"age_s": 22, "polls": 2}, 1.8),
            ({"age_s": 200, "polls": 9}, 15),
            ({"age_s": 1000, "polls": 9}, 60),
            ({"age_s": 10, "polls": 1, "retry_after_s": 40.0}, 40),
            ({"age_s": 10, "polls": 1, "retry_after_s": 3.0}, 10),
            # A look that told nothing says nothing about the plan.
            ({"age_s": 20.05, "polls": 1, "misses": 1}, 5),
            ({"age_s": 20.05, "polls": 1, "misses": 3}, 20),
            ({"age_s": 10, "polls": 1, "slowed": 2.0}, 20),
            ({"age_s": 10, "polls": 1, "slowed": 8.0}, 60),
        ],
    )
    def test_table(self, given: dict[str, float], delay_s: float) -> None:
        policy = replace(POLICY, jitter=0.0)
        found = next_look_s(policy, **{"retry_after_s": None, "spread": 0.9, "known": TWENTY, **given})  # type: ignore[arg-type]
        assert found == pytest.approx(delay_s, abs=0.3)

    def test_a_person_who_says_that_nothing_finishes_sooner_is_believed(self) -> None:
        patient = replace(POLICY, first_s=45, jitter=0.0)
        assert next_look_s(patient, age_s=0, polls=0, retry_after_s=None, spread=0, known=TWENTY) == 45

    def test_looks_are_spread_to_later_by_a_share_of_the_interval(self) -> None:
        def at(spread: float) -> float:
            return next_look_s(POLICY, age_s=0, polls=0, retry_after_s=None, spread=spread, known=TWENTY)

        assert at(0.0) == pytest.approx(20, abs=0.3)
        assert at(0.5) - at(0.0) == pytest.approx(0.25)
        assert at(0.999) - at(0.0) < 0.5

    @pytest.mark.parametrize(("spread", "within_s"), [(0.0, 0.34), (0.999, 0.42)])
    def test_while_work_waits_an_end_is_seen_within_a_small_share_of_the_time_it_takes(
        self, spread: float, within_s: float
    ) -> None:
        uneven = [20 + 0.1 * n for n in range(40)]
        waits = known_of(POLICY, *uneven, work_waits=True)
        assert waits.lag_s == pytest.approx(0.015 * 22, abs=0.01)
        age_s = 20.5
        while age_s < 23:
            delay_s = next_look_s(POLICY, age_s=age_s, polls=2, retry_after_s=None, spread=spread, known=waits)
            assert 0.05 < delay_s < within_s
            age_s += delay_s
        assert known_of(POLICY, *uneven).lag_s == 2.5

    def test_where_it_takes_long_the_usual_lag_is_enough_while_work_waits_too(self) -> None:
        assert known_of(POLICY, *[600.0] * 20, work_waits=True).lag_s == known_of(POLICY, *[600.0] * 20).lag_s == 2.5

    def test_progress_that_proved_true_moves_the_look(self) -> None:
        policy = replace(POLICY, jitter=0.0)
        delay_s = next_look_s(policy, age_s=30, polls=1, retry_after_s=None, spread=0, known=WIDE, progress=0.5)
        assert delay_s == pytest.approx(30, abs=1.5)

    @given(
        age_s=st.floats(0, 1e6),
        polls=st.integers(0, 10**6),
        retry_after_s=st.none() | st.floats(0, 3600),
        spread=st.floats(0, 1, exclude_max=True),
        misses=st.integers(0, 10**4),
        what=st.sampled_from([None, TWENTY, WIDE]),
        progress=st.none() | st.floats(0, 1),
        slowed=st.floats(1, 8),
    )
    def test_a_delay_is_finite_never_negative_and_never_above_what_bounds_it(
        self,
        age_s: float,
        polls: int,
        retry_after_s: float | None,
        spread: float,
        misses: int,
        what: Known | None,
        progress: float | None,
        slowed: float,
    ) -> None:
        delay_s = next_look_s(
            POLICY,
            age_s=age_s,
            polls=polls,
            retry_after_s=retry_after_s,
            spread=spread,
            misses=misses,
            known=what,
            progress=progress,
            slowed=slowed,
        )
        assert math.isfinite(delay_s)
        assert delay_s >= 0
        assert delay_s >= (retry_after_s or 0)
        if polls and age_s > 80 and misses == 0 and slowed == 1 and not progress:
            assert delay_s <= max(60 * 1.1, retry_after_s or 0)


class TestSimulation:
    """Counted, with a seed: not timed."""

    def test_it_needs_half_the_looks_of_a_fixed_interval_and_sees_the_end_in_half_the_time(self) -> None:
        law = LAWS["constant 20 s"]
        learned = ours(law, Provider(stamps=True), 150, 7)
        usual = simulate(law, Provider(stamps=True), fixed(5), 150, 7)
        assert learned.polls <= usual.polls / 2
        assert learned.p95_s <= usual.p95_s / 2

    def test_where_nothing_was_learned_it_is_the_fixed_schedule(self) -> None:
        for age_s, polls in ((0.0, 0), (20.0, 1), (1000.0, 3)):
            both = [
                next_look_s(POLICY, age_s=age_s, polls=polls, retry_after_s=None, spread=0.3, known=what)
                for what in (None, known_of(POLICY))
            ]
            assert both[0] == both[1]
