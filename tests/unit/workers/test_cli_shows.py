"""What people see: figures, lines, the live picture, and a board that keeps its head when Redis is away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import redis
from rich.console import Console

from schemas.jobs import JobEvent, JobView, Output, State
from workers.cli.board import OUTAGE_S, Board, Standing
from workers.cli.formats import duration, film_length, frame, size, usd
from workers.cli.live import picture, plain_line, summary

NOW = datetime(2026, 11, 22, 15, 0, 10, tzinfo=UTC)
BEGUN = NOW - timedelta(seconds=10)
FILM = Output(0, "video", "demo/j/0.mp4", 1_038_900, "a" * 64, 1366, 768, 6.0)


def standing(job_id: str = "0123456789", **values: Any) -> Standing:
    return Standing(job_id, **{"state": State.GENERATING, "since": BEGUN, "changed": BEGUN, **values})


def drawn(standings: list[Standing], room: int = 10) -> str:
    console = Console(width=110)
    with console.capture() as shown:
        console.print(picture(standings, NOW, room))
    return shown.get()


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "$0.00"),
        ("0.000000", "$0.00"),
        ("1.4", "$1.40"),
        ("56.000000", "$56.00"),
        ("0.012500", "$0.0125"),
        ("1234567.1", "$1234567.10"),
        ("1E+3", "$1000.00"),
    ],
)
def test_money_has_two_decimals_and_more_only_where_needed(amount: str, text: str) -> None:
    assert usd(Decimal(amount)) == text


def test_no_money_is_a_dash() -> None:
    assert usd(None) == "-"


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_500_000, "1.4 MiB"), (5 * 1024**4, "5.0 TiB")],
)
def test_sizes_are_in_the_largest_unit_that_fits(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


@pytest.mark.parametrize(("seconds", "text"), [(-3, "0 s"), (59.9, "59 s"), (60, "1:00"), (3609, "1:00:09")])
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_an_output_without_a_frame_or_a_length_shows_dashes() -> None:
    assert (frame(FILM), film_length(FILM)) == ("1366x768", "6 s")
    plain = replace(FILM, width=None, height=None, duration_s=None)
    assert (frame(plain), film_length(plain)) == ("-", "-")


def test_a_plain_line_says_the_instant_the_job_and_what_matters_about_its_state() -> None:
    assert plain_line(standing(), NOW) == "2026-11-22 15:00:00Z job 01234567 generating"
    done = standing(state=State.COMPLETED, charged_usd=Decimal("0.28"))
    assert plain_line(done, NOW).endswith("completed, charged $0.28")
    failed = standing(state=State.FAILED, error_code="010004096", error_message="Sensitive content.")
    assert plain_line(failed, NOW).endswith("failed: Sensitive content. [010004096]")
    assert plain_line(Standing("0123456789"), NOW).endswith("not accepted yet")


def test_the_summary_counts_by_state_from_the_end_of_the_way() -> None:
    jobs = [standing(), standing(state=State.COMPLETED), standing(state=State.QUEUED), standing(), Standing("x")]
    assert summary(jobs) == "1 completed, 2 generating, 1 queued, 1 not accepted yet"


def test_the_picture_shows_state_elapsed_polls_and_next_look() -> None:
    shown = drawn([standing(polls=4, progress=0.5, next_look_at=NOW + timedelta(seconds=2.5))])
    assert "01234567  generating" in shown
    for word in ("10 s", " 4 ", "in 2.5 s"):
        assert word in shown


def test_a_job_that_has_ended_no_longer_ages() -> None:
    ended = standing(state=State.COMPLETED, changed=BEGUN + timedelta(seconds=4))
    assert ended.elapsed_s(NOW) == 4
    assert standing().elapsed_s(NOW) == 10
    assert Standing("x").elapsed_s(NOW) is None


def test_with_little_room_those_that_move_are_shown_first() -> None:
    jobs = [
        *[standing(f"done{n}", state=State.COMPLETED) for n in range(5)],
        *[standing(f"wait{n}", state=State.QUEUED) for n in range(5)],
        *[standing(f"move{n}") for n in range(3)],
    ]
    shown = drawn(jobs, room=4)
    assert [word for word in shown.split() if word[:4] in ("move", "wait", "done")] == [
        "wait0",
        "move0",
        "move1",
        "move2",
    ]
    assert "(9 not shown)" in shown


class ScriptedHandle:
    """A handle whose answers are given beforehand: an info, or an error to raise."""

    def __init__(self, job_id: str, *answers: dict[str, Any] | Exception) -> None:
        self.id = job_id
        self._answers: Iterator[dict[str, Any] | Exception] = iter(answers)

    @property
    def info(self) -> dict[str, Any]:
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


def info(state: State, *events: str, **more: Any) -> dict[str, Any]:
    made = [{"seq": n, "event": e, "state": state, "at": NOW} for n, e in enumerate(events, start=1)]
    return {"state": state, "events": made, **more}


def board(*handles: ScriptedHandle, clock: list[float] | None = None) -> Board:
    times = clock or [0.0]
    return Board(handles, monotonic=lambda: times[0])  # type: ignore[arg-type]


def test_a_board_gives_only_what_changed() -> None:
    made = board(
        ScriptedHandle(
            "j",
            {"state": None},
            info(State.GENERATING, "accept", progress=0.1),
            info(State.GENERATING, "accept", progress=0.2),
            info(State.COMPLETED, "accept", "charged", outputs=[], charged_usd=Decimal("0.28")),
        )
    )
    assert made.refresh() == []
    assert [each.state for each in made.refresh()] == [State.GENERATING]
    assert made.refresh() == []
    assert [each.charged_usd for each in made.refresh()] == [Decimal("0.28")]
    assert made.open == []
    assert made.refresh() == [], "a job that has ended is not asked for again"


def test_progress_counts_as_movement_and_polls_do_not() -> None:
    clock = [0.0]
    looks = [info(State.GENERATING, "a", progress=p, polls=n) for n, p in enumerate([0.1, 0.1, 0.2])]
    made = board(ScriptedHandle("j", *looks), clock=clock)
    moved = []
    for clock[0] in (1.0, 2.0, 3.0):
        made.refresh()
        moved.append(made.moved_at)
    assert moved == [1.0, 1.0, 3.0]


def test_a_view_that_was_wiped_does_not_take_a_job_back() -> None:
    made = board(ScriptedHandle("j", info(State.GENERATING, "accept"), {"state": None}))
    made.refresh()
    assert made.refresh() == []
    assert made.standings[0].state is State.GENERATING


def test_redis_may_be_away_for_a_minute_and_no_longer() -> None:
    clock = [0.0]
    made = board(ScriptedHandle("j", *[redis.ConnectionError()] * 3), clock=clock)
    assert made.refresh() == []
    clock[0] = OUTAGE_S
    assert made.refresh() == []
    clock[0] = OUTAGE_S + 1
    with pytest.raises(redis.ConnectionError):
        made.refresh()


def test_a_standing_from_the_ledger_is_the_same_as_one_from_redis() -> None:
    event = JobEvent(1, "accept", State.COMPLETED, NOW)
    view = JobView("j", State.COMPLETED, events=(event,), outputs=(FILM,), charged_usd=Decimal("0.28"))
    raw = {"seq": 1, "event": "accept", "state": State.COMPLETED, "at": NOW}
    film = {name: getattr(FILM, name) for name in Output.__slots__}
    from_redis = {"state": State.COMPLETED, "events": [raw], "outputs": [film], "charged_usd": Decimal("0.28")}
    assert Standing.of_view(view) == Standing.of_info("j", from_redis)
