"""Speaks to Redis over a plain socket, by its protocol (RESP 2) alone: what a client in any language has to do."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


class Refused(Exception):
    """Redis answered with an error."""


class Wire:
    """A connection. Whoever waits for an answer waits for `within_s` at most (`TimeoutError`)."""

    def __init__(self, url: str, within_s: float = 60.0) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 6379), timeout=within_s)
        self._file = self._socket.makefile("rb")
        if parts.password:
            user = [parts.username] if parts.username else []
            self.ask("AUTH", *user, parts.password)

    def ask(self, *words: str) -> Any:
        """Send a command, and read its answer."""
        self.say(*words)
        return self.hear()

    def say(self, *words: str) -> None:
        """Send a command."""
        raw = [each.encode() for each in words]
        bulk = b"".join(b"$%d\r\n%b\r\n" % (len(each), each) for each in raw)
        self._socket.sendall(b"*%d\r\n%b" % (len(raw), bulk))

    def hear(self) -> Any:
        """Read one answer: text, a number, `None`, or a list of these. Raises `Refused`."""
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis hung up")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            raise Refused(rest)
        if kind == b"+":
            return rest
        number = int(rest)
        if kind == b":":
            return number
        if number < 0:
            return None
        if kind == b"$":
            return self._file.read(number + 2)[:-2].decode()
        return [self.hear() for _ in range(number)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self._socket.close()
