"""A demo without its stack: what it is to do, what it paints, what it says at its end, and when it gives up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from schemas.jobs import Output, State
from tasks.ledger import LedgerError
from workers.cli.board import Standing
from workers.demo.closing import Outcome, films_table, last_line, total_line
from workers.demo.picture import paint
from workers.demo.plan import DEFAULT_PROMPT, DemoOptions, new_folder, point_latest, stack_environment
from workers.demo.run import _request
from workers.demo.watchdog import GaveUp, Watchdog

FILM = Output(0, "video", "demo/0123456789/0.mp4", 1_038_900, "a" * 64, 1366, 768, 6.0)
DONE = Standing("0123456789", State.COMPLETED, outputs=(FILM,), charged_usd=Decimal("0.280000"))
BROKEN = Standing("abcdefghij", State.FAILED, error_code="010004096", error_message="Sensitive [content].")
OPTIONS = DemoOptions(
    jobs=3, image=None, prompt=DEFAULT_PROMPT, resolution="768P", duration=6, speed=30.0, provider="simulator"
)


def outcome(
    *standings: Standing, charged: str = "0.84", billed: str | None = "0.84", simulated: bool = True
) -> Outcome:
    billed_usd = None if billed is None else Decimal(billed)
    return Outcome(standings, Decimal(charged), billed_usd, simulated, Path("/films"))


def test_the_last_line_of_a_good_run() -> None:
    made = outcome(DONE, DONE, DONE, charged="0.840000")
    assert last_line(made) == "demo: 3 completed, 0 failed, charged $0.84, provider billed $0.84"
    assert made.well


def test_whatever_did_not_complete_counts_as_failed() -> None:
    made = outcome(DONE, BROKEN, Standing("still-open", State.UNCERTAIN), charged="0.28", billed="0.28")
    assert last_line(made) == "demo: 1 completed, 2 failed, charged $0.28, provider billed $0.28"
    assert not made.well


def test_a_bill_that_differs_is_no_good_run() -> None:
    made = outcome(DONE, charged="0.28", billed="0.56")
    assert last_line(made).endswith("charged $0.28, provider billed $0.56")
    assert not made.well


def test_the_real_providers_bill_is_not_known_here() -> None:
    made = outcome(DONE, charged="0.28", billed=None, simulated=False)
    assert last_line(made).endswith("charged $0.28, provider billed unknown (see your account)")
    assert made.well


def test_a_simulators_bill_that_can_not_be_read_is_no_good_run() -> None:
    made = outcome(DONE, charged="0.28", billed=None)
    assert "could not be read" in last_line(made)
    assert not made.well


def test_the_table_has_each_film_and_each_failure() -> None:
    differing = replace(DONE, outputs=(replace(FILM, mismatch="5 s instead of 6 s"),))
    console = Console(width=160)
    with console.capture() as shown:
        console.print(films_table([DONE, BROKEN, differing]))
    text = shown.get()
    for words in (
        "demo/0123456789/0.mp4 ",
        " 1366x768  6 s ",
        "1,038,900",
        "$0.28",
        "Sensitive [content]. [010004096]",
    ):
        assert words in text
    assert "not as asked for: 5 s instead of 6 s" in text


def test_the_total_says_where_the_films_are() -> None:
    assert total_line(outcome(DONE, BROKEN, charged="0.28")) == "total $0.28: 1 file, 1014.6 KiB, in /films"


def test_polls_keep_pace_with_the_simulator_unless_told_otherwise() -> None:
    scaled = stack_environment({"PROMPT": "a secret", "SPEED": "30", "HOME": "/home/x"}, OPTIONS)
    assert scaled == {"REELWORKS_POLL_FIRST_S": "0.333333", "REELWORKS_POLL_INTERVAL_S": "0.2", "HOME": "/home/x"}
    told = stack_environment({"REELWORKS_POLL_FIRST_S": "3", "REELWORKS_POLL_INTERVAL_S": ""}, OPTIONS)
    assert told == {"REELWORKS_POLL_FIRST_S": "3", "REELWORKS_POLL_INTERVAL_S": "0.2"}


def test_the_real_provider_is_polled_as_ever() -> None:
    assert stack_environment({"HOME": "/home/x"}, replace(OPTIONS, provider="vtrix")) == {"HOME": "/home/x"}


def test_each_demo_has_a_folder_of_its_own_and_latest_is_the_newest(tmp_path: Path) -> None:
    now = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
    folders = [new_folder(tmp_path / "demo", now) for _ in range(3)]
    assert [folder.name for folder in folders] == ["20261122-150000", "20261122-150000-2", "20261122-150000-3"]
    for folder in folders:
        point_latest(folder)
    assert (tmp_path / "demo" / "latest").resolve() == folders[-1]
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == [*(f.name for f in folders), "latest"]


def test_the_demos_own_picture_and_prompt_make_a_valid_request(tmp_path: Path) -> None:
    data = paint()
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    with Image.open(path) as picture:
        assert picture.size == (1280, 720)
        assert len(set(picture.resize((32, 18)).convert("L").tobytes())) > 40, "it is more than a plain field"
    assert paint() == data, "the same picture is the same request, which the simulator renders once"
    assert _request(OPTIONS, data)["tenant"] == "demo"


def test_options_do_not_show_the_prompt() -> None:
    assert "canary" not in repr(replace(OPTIONS, prompt="canary", image="https://x.example/?canary"))


class FakeBoard:
    def __init__(self, *states: State | None) -> None:
        self.open = [Standing(f"job-{n}", state) for n, state in enumerate(states)]
        self.moved_at = 0.0


class FakePauses:
    def __init__(self, answer: dict[str, str] | Exception) -> None:
        self._answer = answer

    def paused(self, aliases: Sequence[str]) -> dict[str, str]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return {alias: reason for alias, reason in self._answer.items() if alias in aliases}


def watchdog(board: FakeBoard, paused: dict[str, str] | Exception, *, now: float = 1.0) -> Watchdog:
    return Watchdog(
        board,  # type: ignore[arg-type]
        FakePauses(paused),
        ["a", "b"],
        patience_s=120,
        logs=Path("/var/logs"),
        monotonic=lambda: now,
    )


REFUSED = {"a": "2049: invalid api key", "b": "1008: no balance"}


def test_refused_keys_end_the_demo_with_the_providers_words() -> None:
    with pytest.raises(GaveUp, match="key 'a': 2049: invalid api key; key 'b': 1008: no balance"):
        watchdog(FakeBoard(State.QUEUED, State.ADMITTED), REFUSED).look()


def test_a_provider_that_cant_be_reached_ends_the_demo_and_no_key_is_blamed() -> None:
    with pytest.raises(GaveUp, match="the provider can't be reached; look at the network") as gave_up:
        watchdog(FakeBoard(State.QUEUED), {"a": "unsent", "b": "unsent"}).look()
    assert "key" not in str(gave_up.value)


@pytest.mark.parametrize(
    ("states", "paused"),
    [
        ([State.QUEUED, State.GENERATING], REFUSED),
        ([State.QUEUED], {"a": REFUSED["a"]}),
        ([State.QUEUED], {"a": "throttled", "b": "throttled"}),
        ([State.QUEUED], {"a": REFUSED["a"], "b": "throttled"}),
        ([State.QUEUED], LedgerError()),
        ([None], {}),
    ],
    ids=["some-in-flight", "one-key-left", "throttled", "one-throttled", "database-away", "not-accepted"],
)
def test_what_may_still_go_on_is_waited_for(states: list[State | None], paused: dict[str, str] | Exception) -> None:
    watchdog(FakeBoard(*states), paused).look()


def test_nothing_moving_for_long_ends_the_demo_and_names_the_logs() -> None:
    watchdog(FakeBoard(State.GENERATING), {}, now=120).look()
    with pytest.raises(GaveUp, match="nothing has moved for 121 s; the logs in /var/logs"):
        watchdog(FakeBoard(State.GENERATING), {}, now=121).look()


def test_jobs_that_are_all_uncertain_are_not_waited_for_long() -> None:
    watchdog(FakeBoard(State.UNCERTAIN), {}, now=10).look()
    watchdog(FakeBoard(State.UNCERTAIN, State.GENERATING), {}, now=20).look()
    with pytest.raises(GaveUp, match="nothing is sent twice"):
        watchdog(FakeBoard(State.UNCERTAIN), {}, now=20).look()
