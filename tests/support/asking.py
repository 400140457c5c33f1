"""Asks about many provider tasks at once by threads over `VtrixClient.poll`, where tests stand in for that client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from tasks.vtrix.asking import HAND_OVER_S, Answer, L, Look, Timed, untimed


class ThreadAsker:
    """A thread a look, over the client's own session: as many are asked at the same time as there are threads. The
    threads are closed by their owner.
    """

    def __init__(self, threads: ThreadPoolExecutor, timed: Timed = untimed) -> None:
        self._threads, self._timed = threads, timed

    def ask_many(self, more: Callable[[int], Sequence[L]], at_once: int) -> Iterator[list[tuple[L, Answer]]]:
        asked: dict[Future[Answer], L] = {}
        while True:
            if room := at_once - len(asked):
                asked |= {self._threads.submit(self._ask, look): look for look in more(room)}
            if not asked:
                return
            done, _ = wait(asked, timeout=HAND_OVER_S)
            yield [(asked.pop(each), each.result()) for each in done]

    def close(self) -> None:
        pass

    def _ask(self, look: Look) -> Answer:
        begun_at = time.monotonic()
        try:
            return look.provider.poll(look.provider_task_id)
        except Exception as error:  # noqa: BLE001 (whoever asked says what becomes of it)
            return error
        finally:
            self._timed([time.monotonic() - begun_at])
