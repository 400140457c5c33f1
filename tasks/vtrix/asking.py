"""Asks the provider about many tasks at once. Owns the seam between the poll lane and the clients that can do so.

`ask_many` gives answers in groups, as they come, and asks on as soon as there is room: one that takes long, fails, or
can't be read holds up none of the others. There are two clients behind it: threads over `requests` (here), and libcurl
on one thread (`tasks.vtrix.curl`). Both bound and read a poll in the same way, and one test holds both to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
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


class ThreadAsker:
    """A thread a look, over the client's own session: as many are asked at the same time as there are threads."""

    def __init__(self, threads: ThreadPoolExecutor, timed: Timed = untimed) -> None:
        self._threads, self._timed = threads, timed

    def ask_many(self, more: Callable[[int], Sequence[L]], at_once: int) -> Iterator[list[tuple[L, Answer]]]:
        """See `Asker`."""
        asked: dict[Future[Answer], L] = {}
        while True:
            if room := at_once - len(asked):
                asked |= {self._threads.submit(self._ask, look): look for look in more(room)}
            if not asked:
                return
            done, _ = wait(asked, timeout=HAND_OVER_S)
            yield [(asked.pop(each), each.result()) for each in done]

    def close(self) -> None:
        """The threads are closed by their owner."""

    def _ask(self, look: Look) -> Answer:
        begun_at = time.monotonic()
        try:
            return look.provider.poll(look.provider_task_id)
        except Exception as error:  # noqa: BLE001 (whoever asked says what becomes of it)
            return error
        finally:
            self._timed([time.monotonic() - begun_at])
