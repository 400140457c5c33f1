"""What pages draw and how they write figures: tables of small cases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from schemas.jobs import State
from workers.showing import shown
from workers.showing.shapes import WIDTH, Phase, Span, bars, columns, lasted, share, spans, stacks

T0 = datetime(2026, 11, 27, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Changed:
    state: State
    at: datetime


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def story(*changes: tuple[State, float]) -> list[Changed]:
    return [Changed(state, at(seconds)) for state, seconds in changes]


WHOLE = story(
    (State.QUEUED, 0),
    (State.ADMITTED, 10),
    (State.CREATING, 11),
    (State.GENERATING, 12),
    (State.DOWNLOADING, 72),
    (State.RECORDING, 74),
    (State.COMPLETED, 75),
)


def test_a_whole_life_has_three_phases_and_ends_where_it_ended() -> None:
    assert spans(WHOLE, at(1000)) == (
        Span(Phase.WAITING, at(0), at(11)),
        Span(Phase.GENERATING, at(11), at(72)),
        Span(Phase.DOWNLOADING, at(72), at(75)),
    )


def test_what_goes_on_lasts_until_now_and_never_less_than_nothing() -> None:
    assert spans(WHOLE[:4], at(40))[-1] == Span(Phase.GENERATING, at(11), at(40))
    assert spans(WHOLE[:1], at(-5)) == (Span(Phase.WAITING, at(0), at(0)),)
    assert spans([], at(0)) == ()


def test_a_job_that_was_tried_again_has_a_gap_and_its_phases_add_up() -> None:
    told = story((State.QUEUED, 0), (State.FAILED, 5), (State.QUEUED, 100), (State.UNCERTAIN, 110), (State.FAILED, 120))
    found = spans(told, at(500))
    assert [(each.begin, each.end) for each in found] == [(at(0), at(5)), (at(100), at(110)), (at(110), at(120))]
    assert lasted(found) == {Phase.WAITING: 15.0, Phase.DOUBT: 10.0}


def test_bars_stand_where_their_time_is() -> None:
    drawn = bars(spans(WHOLE, at(75)), at(0), at(100))
    assert [(bar.phase, bar.x, bar.width) for bar in drawn] == [
        (Phase.WAITING, 0.0, 110.0),
        (Phase.GENERATING, 110.0, 610.0),
        (Phase.DOWNLOADING, 720.0, 30.0),
    ]


@pytest.mark.parametrize("end", [0, 0.0001, 50, 10**7])
def test_bars_stay_within_the_line_and_none_vanishes(end: float) -> None:
    for bar in bars(spans(WHOLE, at(75)), at(0), at(end)):
        assert bar.width >= 3
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH


def test_a_share_is_seen_however_small_and_nothing_is_nothing() -> None:
    assert share(Decimal("0.28"), Decimal("0.56")) == 500
    assert share(Decimal("0.000001"), Decimal(1000)) == 3
    assert share(Decimal(0), Decimal(1)) == share(Decimal(0), Decimal(0)) == 0


def test_each_day_has_a_column_whether_something_was_charged_or_not() -> None:
    drawn = columns({"2026-02-28": Decimal(2), "2026-03-01": Decimal(1)}, date(2026, 2, 27), date(2026, 3, 1))
    assert [(each.day, each.height) for each in drawn] == [
        ("2026-02-27", 0.0),
        ("2026-02-28", 100.0),
        ("2026-03-01", 50.0),
    ]


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "$0.00"),
        ("0.28", "$0.28"),
        ("0.100000", "$0.10"),
        ("0.1000001", "$0.1000001"),
        ("1234567.5", "$1,234,567.50"),
        ("0E-6", "$0.00"),
        ("1E+3", "$1,000.00"),
        ("-2", "-$2.00"),
    ],
)
def test_money_has_all_its_digits_and_two_at_least(amount: str, text: str) -> None:
    assert shown.usd(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.7, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7380, "2 h 03 min"),
        (349_200, "4 d 01 h"),
    ],
)
def test_times_are_as_long_as_they_are(seconds: float, text: str) -> None:
    assert shown.duration(seconds) == text


def test_instants_are_in_utc_and_sizes_have_units() -> None:
    there = datetime.fromisoformat("2026-11-27T14:00:00+02:00")
    assert shown.instant(there) == "2026-11-27 12:00:00 UTC"
    assert [shown.size(each) for each in (0, 812, 1_400_000, 999_600)] == ["0 B", "812 B", "1.4 MB", "1.0 MB"]


def test_every_state_is_explained() -> None:
    assert set(shown.TITLES) == set(State)


def test_a_days_layers_lie_upon_one_another_and_the_tallest_day_is_full() -> None:
    counts = {"2026-11-01": {"completed": 3, "failed": 1}, "2026-11-03": {"completed": 0, "failed": 2}}
    first, empty, last = stacks(counts, date(2026, 11, 1), date(2026, 11, 3))
    assert [(each.name, each.y, each.height) for each in first.layers] == [("completed", 25, 75), ("failed", 0, 25)]
    assert empty.layers == ()
    assert [(each.name, each.y, each.height) for each in last.layers] == [("failed", 50, 50)]
    assert all(not each.layers for each in stacks({}, date(2026, 11, 1), date(2026, 11, 2)))
