"""The floor of a poll: the question and the JSON of its answer, with the client that the poll lane uses, and no more.

Where the lane asks over libcurl, many questions are under way on one thread; else a session of `requests` asks one
after the other.
"""

from __future__ import annotations

import importlib.util
import io
import json
import time
from collections.abc import Callable
from typing import Any

from tasks.transport import Deadlines, deadline, new_session
from tests.bench.provider import POLL_PATH
from tests.bench.stack import KEY
from tests.bench.stand import Provider

_HEADERS = {"Authorization": f"Bearer {KEY}", "Accept": "application/json"}
_TOGETHER = 100


def client() -> str:
    """The name of what asks."""
    return "requests" if importlib.util.find_spec("tasks.vtrix.curl") is None else "libcurl"


def floor_ms(provider: Provider, number: int) -> float:
    """CPU milliseconds a poll, of this process."""
    ask = _by_requests if client() == "requests" else _Curl
    many = ask(provider)
    many(min(number, 2 * _TOGETHER))  # connects
    before = time.process_time()
    many(number)
    return (time.process_time() - before) * 1000 / number


def _url(provider: Provider, index: int) -> str:
    return f"{provider.url}{POLL_PATH}held-{index:07d}"


def _by_requests(provider: Provider) -> Callable[[int], None]:
    session, within = new_session(1), Deadlines(5, 6, 8)

    def many(number: int) -> None:
        for index in range(number):
            with deadline(within.total_s):
                answer = session.get(_url(provider, index), headers=_HEADERS, timeout=within.timeouts_s)
                _check(answer.content)

    return many


class _Curl:
    """Asks so many at a time over kept connections."""

    def __init__(self, provider: Provider) -> None:
        import pycurl

        self._curl, self._provider = pycurl, provider
        self._multi = pycurl.CurlMulti()
        self._idle = [self._easy() for _ in range(_TOGETHER)]
        self._bodies: dict[Any, io.BytesIO] = {}

    def __call__(self, number: int) -> None:
        asked = 0
        while asked < number or self._bodies:
            while self._idle and asked < number:
                self._begin(_url(self._provider, asked))
                asked += 1
            self._multi.perform()
            while self._take_ended():
                pass
            if self._bodies:
                self._multi.select(0.05)

    def _easy(self) -> Any:
        easy = self._curl.Curl()
        easy.setopt(self._curl.HTTPHEADER, [f"{name}: {value}" for name, value in _HEADERS.items()])
        easy.setopt(self._curl.TIMEOUT_MS, 8000)
        return easy

    def _begin(self, url: str) -> None:
        easy, body = self._idle.pop(), io.BytesIO()
        easy.setopt(self._curl.URL, url)
        easy.setopt(self._curl.WRITEDATA, body)
        self._bodies[easy] = body
        self._multi.add_handle(easy)

    def _take_ended(self) -> int:
        left, ended, failed = self._multi.info_read()
        if failed:
            raise OSError(f"libcurl: {failed[0][2]}")
        for easy in ended:
            self._multi.remove_handle(easy)
            _check(self._bodies.pop(easy).getvalue())
            self._idle.append(easy)
        return int(left)


def _check(body: bytes) -> None:
    if json.loads(body)["status"] != "in_progress":
        raise ValueError("the provider said something else than that the task is in progress")
