"""Shows a board while it moves: one live line a job in a terminal, a plain line a change of state anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from schemas.jobs import State
from workers.cli.board import Board, Standing
from workers.cli.common import table
from workers.cli.formats import duration, instant, short, usd

_TICK_S: Final = 0.25
# Asking for a job costs Redis about a quarter of a millisecond: of many jobs, each is asked less often.
_TICK_PER_JOB_S: Final = 0.005
_BAR_CELLS: Final = 24
_LINES_BESIDE_JOBS: Final = 5

_WAITING: Final = "not accepted yet"
_PAST_GENERATING: Final = (State.DOWNLOADING, State.RECORDING, State.COMPLETED)
_STYLES: Final = {State.COMPLETED: "green", State.FAILED: "red", State.CANCELLED: "yellow", State.UNCERTAIN: "yellow"}


class Screen(Protocol):
    """Where the state of things is shown."""

    def show(self, board: Board, changed: Sequence[Standing]) -> None:
        """Bring what is shown up to date; `changed` have another state than at the last call."""


def follow(board: Board, screen: Screen, each_turn: Callable[[], None] = lambda: None) -> None:
    """Refresh and show the board until all its jobs have ended; `each_turn` is called between, and may raise."""
    while True:
        changed = board.refresh()
        screen.show(board, changed)
        if not board.open:
            return
        each_turn()
        time.sleep(_TICK_S + _TICK_PER_JOB_S * len(board.open))


class PlainScreen:
    """A line for each change of state, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, board: Board, changed: Sequence[Standing]) -> None:  # noqa: ARG002 (the interface)
        """Print a line for each job that has changed."""
        for each in changed:
            self._console.print(plain_line(each, datetime.now(UTC)), soft_wrap=True, markup=False)


class LiveScreen:
    """One line a job that moves in place, as many as the terminal has room for, and a summary. Use as a context."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> LiveScreen:
        self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._live.stop()

    def show(self, board: Board, changed: Sequence[Standing]) -> None:  # noqa: ARG002 (the interface)
        """Draw all jobs anew, as far as they fit."""
        room = max(3, self._console.height - _LINES_BESIDE_JOBS)
        self._live.update(picture(board.standings, datetime.now(UTC), room), refresh=True)


def plain_line(standing: Standing, now: datetime) -> str:
    """`2026-11-22 15:04:05Z job 1f0c9a2b generating`, with what it cost or why it failed at its end."""
    line = f"{instant(standing.changed or now)} job {short(standing.job_id)} {_state_word(standing)}"
    if standing.state is State.COMPLETED:
        return f"{line}, charged {usd(standing.charged_usd)}"
    if standing.error_code:
        return f"{line}: {standing.error_message or ''} [{standing.error_code}]"
    return line


def picture(standings: Sequence[Standing], now: datetime, room: int) -> RenderableType:
    """The live picture: at most `room` jobs, those that move before those that wait before those that have ended."""
    shown = _chosen(standings, room)
    rows = table("job", "state", "progress", "elapsed", "polls", "next look", right=("elapsed", "polls", "next look"))
    for each in shown:
        elapsed_s = each.elapsed_s(now)
        rows.add_row(
            short(each.job_id),
            Text(_state_word(each), style=_STYLES.get(each.state, "") if each.state else "dim"),
            _bar(each),
            "-" if elapsed_s is None else duration(elapsed_s),
            "-" if each.polls is None else str(each.polls),
            _next_look(each, now),
        )
    return Group(rows, Text(summary(standings, hidden=len(standings) - len(shown)), style="bold"))


def summary(standings: Sequence[Standing], hidden: int = 0) -> str:
    """`2 completed, 1 generating, 3 queued`; in the order of a job's life from its end."""
    words = [_state_word(each) for each in standings]
    order = [state.value for state in reversed(State)] + [_WAITING]
    counts = ", ".join(f"{words.count(word)} {word}" for word in order if word in words)
    return f"{counts} ({hidden} not shown)" if hidden else counts


def _state_word(standing: Standing) -> str:
    return _WAITING if standing.state is None else standing.state.value


def _chosen(standings: Sequence[Standing], room: int) -> list[Standing]:
    if len(standings) <= room:
        return list(standings)

    def dullness(numbered: tuple[int, Standing]) -> int:
        state = numbered[1].state
        return 2 if numbered[1].terminal else 1 if state in (None, State.QUEUED) else 0

    chosen = sorted(enumerate(standings), key=dullness)[:room]
    return [each for _, each in sorted(chosen)]


def _bar(standing: Standing) -> RenderableType:
    if standing.error_code:
        return Text(standing.error_code, style="red")
    done = 1.0 if standing.state in _PAST_GENERATING else standing.progress or 0.0
    return ProgressBar(total=1.0, completed=done, width=_BAR_CELLS)


def _next_look(standing: Standing, now: datetime) -> str:
    if standing.next_look_at is None or standing.state is not State.GENERATING:
        return "-"
    left_s = (standing.next_look_at - now).total_seconds()
    return f"in {left_s:.1f} s" if left_s > 0 else "now"
