"""What is known of a kind of task: from which sketches, how it is learned, and when progress tells more."""

from __future__ import annotations

import random

import pytest

from tasks.domain.knowledge import PROGRESS, Kind, Known, Seen
from tasks.domain.lookplan import Bounds
from tasks.domain.sketch import Sketch
from tests.unit.domain.sketches import KIND, of

BOUNDS = Bounds(lag=2.5, longest=15)
HOUR, SHAPE, ANY = KIND.names


def known(**sketches: Sketch) -> Known:
    names = {"hour": HOUR, "shape": SHAPE, "any": ANY, "progress": PROGRESS}
    return Known({names[name]: sketch for name, sketch in sketches.items()}, KIND, BOUNDS)


def test_when_most_have_ended_is_known_with_the_times_and_not_without() -> None:
    assert known().mostly_ended_s is None
    assert known(shape=of(*[20.0] * 12)).mostly_ended_s == pytest.approx(20, rel=0.03)
    slow_one_in_four = of(*[20.0, 20.0, 20.0, 40.0] * 4)
    assert known(shape=slow_one_in_four).mostly_ended_s == pytest.approx(40, rel=0.03)


class TestKind:
    @pytest.mark.parametrize("kind", [KIND, Kind("a b", None, None, 0), Kind("m", "512P", None, 23)])
    def test_it_survives_redis(self, kind: Kind) -> None:
        assert Kind.parse(str(kind)) == kind

    @pytest.mark.parametrize("text", ["", "model", "model 768P/6", "model 768P@1", "model 768P/x@1", "model 768P/6@"])
    def test_anything_else_is_no_kind(self, text: str) -> None:
        assert Kind.parse(text) is None


class TestFallback:
    """Where a first look is placed tells whose times it was placed by."""

    @pytest.mark.parametrize(
        ("sketches", "look_s"),
        [
            ({}, None),
            ({"any": of(*[40.0] * 7)}, None),
            ({"any": of(*[40.0] * 9)}, 40),
            ({"any": of(*[40.0] * 9), "shape": of(*[20.0] * 7)}, 40),
            ({"any": of(*[40.0] * 9), "shape": of(*[20.0] * 9)}, 20),
            ({"shape": of(*[20.0] * 9), "hour": of(*[90.0] * 7)}, 20),
            ({"hour": of(*[90.0] * 20)}, None),
        ],
    )
    def test_the_finest_that_is_known_well_enough_counts(
        self, sketches: dict[str, Sketch], look_s: float | None
    ) -> None:
        found = known(**sketches).next_look_at_s(0, None)
        assert found == (None if look_s is None else pytest.approx(look_s, rel=0.03))

    def test_the_hour_counts_beside_all_hours(self) -> None:
        both = known(shape=of(*[20.0] * 50), hour=of(*[90.0] * 50))
        first_s = both.next_look_at_s(0, None)
        assert first_s == pytest.approx(20, rel=0.03)
        assert first_s is not None
        looks = [first_s]
        while looks[-1] < 88:
            looks.append(both.next_look_at_s(looks[-1], None) or 0)
        assert looks[-1] == pytest.approx(90, rel=0.03)
        assert len(looks) <= 6


class TestLearning:
    def test_a_completion_goes_to_all_its_sketches(self) -> None:
        deposits = known().deposits([Seen.between(18, 22, None, 0.9)])
        assert [name for name, _ in deposits] == [HOUR, SHAPE, ANY, PROGRESS]
        assert all(sum(shares.values()) == pytest.approx(1) for _, shares in deposits)

    @pytest.mark.parametrize("progress", [None, 0.0, 0.01, 1.0])
    def test_progress_that_tells_nothing_is_not_learned_from(self, progress: float | None) -> None:
        assert len(known().deposits([Seen.between(18, 22, None, progress)])) == 3

    def test_progress_before_the_first_look_is_none(self) -> None:
        assert Seen.between(0, 22, None, 0.9).progress is None

    @pytest.mark.parametrize(
        ("took_s", "low_s", "high_s"),
        [(None, 10, 25), (20.0, 19, 21), (10.5, 10, 11.5), (25.5, 24.5, 25), (500.0, 10, 25), (2.0, 10, 25)],
    )
    def test_the_providers_stamps_narrow_an_end_down_where_they_agree_with_the_looks(
        self, took_s: float | None, low_s: float, high_s: float
    ) -> None:
        seen = Seen.between(10, 25, took_s, None)
        assert (seen.low_s, seen.high_s) == (low_s, high_s)


class TestProgress:
    TIMES = of(*map(random.Random(1).lognormvariate, [4.5] * 200, [0.4] * 200))

    def test_progress_that_proved_true_says_when_to_look(self) -> None:
        honest = known(shape=self.TIMES, progress=of(*[1.0, 1.01] * 20))
        assert honest.next_look_at_s(40, 0.25) == pytest.approx(160, rel=0.03)
        assert honest.next_look_at_s(40, 0.80) == pytest.approx(50, rel=0.03)

    def test_progress_that_is_off_by_a_factor_is_understood(self) -> None:
        half = known(shape=self.TIMES, progress=of(*[0.5] * 20))
        assert half.next_look_at_s(40, 0.25) == pytest.approx(80, rel=0.03)

    def test_progress_that_told_nothing_is_not_heeded(self) -> None:
        scattered = known(shape=self.TIMES, progress=of(*[1.05**n for n in range(-20, 20)]))
        assert scattered.next_look_at_s(60, 0.25) == scattered.next_look_at_s(60, None)

    def test_progress_counts_only_once_it_has_proved_true_often_enough(self) -> None:
        few = known(shape=self.TIMES, progress=of(*[1.0] * 7))
        assert few.next_look_at_s(60, 0.25) == few.next_look_at_s(60, None)
