"""What it is to ask the provider about many tasks at once: the seam between the poll lane and the client that does so.

`ask_many` gives answers in groups, as they come, and asks on as soon as there is room: one that takes long, fails, or
can't be read holds up none of the others. `tasks.vtrix.curl` does it, over libcurl; it bounds and reads a poll as
`VtrixClient.poll` does, and the same tests hold both to that. Refuses to know why somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from tasks.domain.answers import PollAnswer
from tasks.vtrix.client import VtrixClient

HAND_OVER_S: Final = 0.25
"""So long does an answer wait for others, that they may be worked together; and so often comes a group, if an empty
one."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What to ask: whom, and about which task. The lane adds why."""

    provider: VtrixClient
    provider_task_id: str


L = TypeVar("L", bound=Look)
Answer = PollAnswer | Exception
"""What the provider said; or the error of our own code that could not take it."""

Timed = Callable[[Sequence[float]], None]
"""Told how many seconds each of some polls took, whatever came of them."""


def untimed(_took_s: Sequence[float]) -> None:
    """For those who need not know."""


class Asker(Protocol):
    """Safe to use from many threads; build it after the fork."""

    def ask_many(self, more: Callable[[int], Sequence[L]], at_once: int) -> Iterator[list[tuple[L, Answer]]]:
        """Ask about all that `more` gives, until it gives none when all the others have been answered.

        `more(room)` is called again and again and gives at most `room` looks; at most `at_once` are under way at the
        same time. Each is answered exactly once, within the deadlines of a poll. While some are under way a group, if
        an empty one, comes every `HAND_OVER_S`.
        """

    def close(self) -> None:
        """Close what is kept open."""
