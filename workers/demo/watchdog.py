"""Sees when a demo can't come to its end, so that it says why instead of waiting for ever."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from schemas.jobs import State
from tasks.ledger import LedgerError
from workers.cli.board import Board

_UNCERTAIN_PATIENCE_S: Final = 15.0
# A pause for too many requests passes by itself, one for a create that could not be sent says nothing of the key; every
# other is the provider's word on it.
_PASSING: Final = "throttled"
_NOT_REACHED: Final = "unsent"
_IN_FLIGHT: Final = frozenset({State.CREATING, State.GENERATING, State.DOWNLOADING, State.RECORDING})


class GaveUp(Exception):
    """The demo ends before its jobs do. The message says why and what to do."""


class Pauses(Protocol):
    """Which provider keys take nothing new, and why."""

    def paused(self, aliases: Sequence[str]) -> dict[str, str]:
        """Alias -> reason, of those among `aliases` that take nothing new now."""


class Watchdog:
    """`look()` raises `GaveUp` when waiting is of no use any more.

    `patience_s`: how long nothing at all may move, in real seconds. `logs`: where a person finds out more.
    """

    def __init__(
        self,
        board: Board,
        pauses: Pauses,
        aliases: Sequence[str],
        *,
        patience_s: float,
        logs: Path,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board, self._pauses, self._aliases = board, pauses, list(aliases)
        self._patience_s, self._logs, self._monotonic = patience_s, logs, monotonic

    def look(self) -> None:
        """Raise `GaveUp` with the reason, or do nothing."""
        states = {each.state for each in self._board.open}
        still_s = self._monotonic() - self._board.moved_at
        if not states & _IN_FLIGHT:
            self._look_at_keys()
        if states == {State.UNCERTAIN} and still_s > _UNCERTAIN_PATIENCE_S:
            raise GaveUp(
                "the provider may or may not have accepted what was sent, and nothing is sent twice unasked; "
                "`python -m workers job ID` shows each attempt"
            )
        if still_s > self._patience_s:
            raise GaveUp(f"nothing has moved for {still_s:.0f} s; the logs in {self._logs} say more")

    def _look_at_keys(self) -> None:
        paused: dict[str, str] = {}
        with contextlib.suppress(LedgerError):  # a database that is busy or away is no reason to give up
            paused = self._pauses.paused(self._aliases)
        stopped = {alias: reason for alias, reason in paused.items() if reason != _PASSING}
        if not stopped or len(stopped) < len(self._aliases):
            return
        if set(stopped.values()) == {_NOT_REACHED}:
            raise GaveUp("the provider can't be reached; look at the network and at REELWORKS_PROVIDER_URL")
        sentences = "; ".join(f"key {alias!r}: {reason}" for alias, reason in sorted(stopped.items()))
        raise GaveUp(f"the provider refuses the key ({sentences}); look at the key and its balance")
