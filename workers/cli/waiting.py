"""Waits in front of a board: shows it on a terminal or in plain lines, for as long as the user is willing to wait."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

from rich.console import Console

from schemas.errors import WaitTimeout
from workers.cli.board import Board, Standing
from workers.cli.live import LiveScreen, PlainScreen, Screen, follow


def wait_for(
    board: Board,
    console: Console,
    each_turn: Callable[[], None] = lambda: None,
    *,
    already: Sequence[Standing] = (),
) -> None:
    """Show the board until all its jobs have ended: live lines where the console is a terminal, else plain ones.

    `already` are jobs that had ended before the wait began, and so will not change.
    """
    with contextlib.ExitStack() as stack:
        screen: Screen = stack.enter_context(LiveScreen(console)) if console.is_terminal else PlainScreen(console)
        screen.show(board, already)
        follow(board, screen, each_turn)


def deadline(timeout_s: float | None, board: Board) -> Callable[[], None]:
    """Something to call between looks: raises `WaitTimeout`, in the name of an open job, when the time is over."""
    ends_at = None if timeout_s is None else time.monotonic() + timeout_s

    def check() -> None:
        if ends_at is not None and time.monotonic() >= ends_at:
            raise WaitTimeout(board.open[0].job_id, timeout_s or 0.0)

    return check
