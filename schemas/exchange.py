"""One HTTP request and its answer, by the standard library, so that the wheel needs no HTTP client.

Owns the deadlines of an exchange: a server that drips a byte now and then ends it no later than one that is silent.
Refuses redirects, proxies, cookies and repetitions.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

EXCHANGE_ERRORS: Final = (OSError, http.client.HTTPException)
"""All that an exchange can raise when no answer comes, or half of one. Their texts can quote addresses."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long an exchange may take, in seconds: to connect, for each silence, and as a whole."""

    connect_s: float = 5.0
    read_s: float = 15.0
    total_s: float = 60.0


@contextmanager
def get(
    url: str, headers: Mapping[str, str], deadlines: Deadlines, until_s: float
) -> Iterator[http.client.HTTPResponse]:
    """The answer to a GET, whose body is still to be read. `until_s`: by when, on the monotonic clock.

    Raises `EXCHANGE_ERRORS`, and so does reading. Resolving a name is the system resolver's own affair.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=min(deadlines.connect_s, _left_s(until_s)))
    connection.response_class = partial(_Response, read_s=deadlines.read_s, until_s=until_s)  # type: ignore[assignment]  # is called, and nothing else
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={**headers, "Connection": "close"})
        with connection.getresponse() as answer:
            yield answer
    finally:
        connection.close()


class _Response(http.client.HTTPResponse):
    """Reads head and body within the deadlines."""

    def __init__(self, sock: socket.socket, *args: Any, read_s: float, until_s: float, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Reader(sock, self.fp.detach(), read_s, until_s))


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, raw: io.RawIOBase, read_s: float, until_s: float) -> None:
        self._sock, self._raw, self._read_s, self._until_s = sock, raw, read_s, until_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(min(self._read_s, _left_s(self._until_s)))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _left_s(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("total deadline")
    return left_s
