"""Asks the provider about many tasks at once. Owns the seam between the poll lane and the clients that can do so.

`ask_many` gives answers in groups, as they come: one that takes long, fails, or can't be read holds up none of the
others. There are two clients behind it: threads over `requests` (here), and libcurl on one thread (`tasks.vtrix.curl`).
Both bound and read a poll in the same way, and one test holds both to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final, Protocol

from tasks.domain.answers import PollAnswer
from tasks.vtrix.client import VtrixClient

HAND_OVER_S: Final = 0.25
"""So long does an answer wait for the others of its batch, that they may be worked together."""


@dataclass(frozen=True, slots=True)
class Look:
    """What to ask: whom, and about which task."""

    provider: VtrixClient
    provider_task_id: str


Answered = tuple[int, PollAnswer | Exception]
"""The place of a look among those asked for, and its answer; or the error of our own code that could not take it."""


class Asker(Protocol):
    """Safe to use from many threads; build it after the fork."""

    def ask_many(self, looks: Sequence[Look]) -> Iterator[list[Answered]]:
        """Ask for all of them at once; each is answered exactly once, within the deadlines of a poll."""

    def close(self) -> None:
        """Close what is kept open."""


class ThreadAsker:
    """A thread a look, over the client's own session: as many are asked at the same time as there are threads."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads

    def ask_many(self, looks: Sequence[Look]) -> Iterator[list[Answered]]:
        """See `Asker`."""
        places = {self._threads.submit(_ask, look): place for place, look in enumerate(looks)}
        left = set(places)
        while left:
            done, left = wait(left, timeout=HAND_OVER_S)
            if done:
                yield [(places[each], each.result()) for each in done]

    def close(self) -> None:
        """The threads are closed by their owner."""


def _ask(look: Look) -> PollAnswer | Exception:
    try:
        return look.provider.poll(look.provider_task_id)
    except Exception as error:  # noqa: BLE001 (whoever asked says what becomes of it)
        return error
