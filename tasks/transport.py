"""HTTP sessions whose calls end by a total deadline. Refuses retries, redirects, proxies, cookies, netrc.

`requests` bounds the time of a connect and of one read, so a server that drips a byte now and then holds a call for
ever, and a long upload has to fit into the connect time-out. Here every send and every receive on the socket, headers
included, gets what is left until the deadline. Used by the rooms that make requests, which know nothing of one another.
"""

from __future__ import annotations

import http.client
import io
import math
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import requests
import requests.adapters
import urllib3
import urllib3.connection

TRANSPORT_ERRORS: Final = (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException, ValueError)
"""All that a call can raise: `requests.RequestException` is an `OSError`; an unusable URL, a `ValueError`."""

_SEND_SLICE_BYTES: Final = 256 * 1024
# So much of an answer that has come by the deadline is read after it: a short one, or the end of a long one.
_LATE_BYTES: Final = 64 * 1024
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a call may take, in seconds: to connect, for one read, and as a whole."""

    connect_s: float
    read_s: float
    total_s: float

    @property
    def timeouts_s(self) -> tuple[float, float]:
        """What `requests` takes as `timeout`: neither is above the whole."""
        return min(self.connect_s, self.total_s), min(self.read_s, self.total_s)


@contextmanager
def deadline(total_timeout_s: float) -> Iterator[None]:
    """Bound all socket work done inside, on this thread, to `total_timeout_s` seconds; past it, `TimeoutError`.

    Resolving a name is the system resolver's own affair, with its own time-outs.
    """
    token = _deadline.set(time.monotonic() + total_timeout_s)
    try:
        yield
    finally:
        _deadline.reset(token)


def new_session(pool_size: int) -> requests.Session:
    """A session that keeps up to `pool_size` connections and takes nothing from the environment or from cookies."""
    adapter = DeadlineAdapter(pool_connections=1, pool_maxsize=pool_size, max_retries=0)
    return session_of(https=adapter, http=adapter)


def session_of(*, https: DeadlineAdapter, http: DeadlineAdapter) -> requests.Session:
    """A session like that of `new_session` with these adapters."""
    session = _Session()
    session.trust_env = False
    session.headers.clear()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.mount("https://", https)
    session.mount("http://", http)
    return session


def left_s() -> float:
    """Seconds until the deadline that this thread works under; infinite without one. Past it, `TimeoutError`."""
    until = _deadline.get()
    return math.inf if until is None else _left_s(until)


def _left_s(until: float) -> float:
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("total deadline")
    return left_s


class _DeadlineReader(io.RawIOBase):
    """A socket's raw reader that waits no longer than the read time-out, and never past the deadline.

    An answer that came while the process slept beyond the deadline is still read: it may say what was paid for.
    """

    def __init__(self, sock: socket.socket, raw: io.RawIOBase, until: float) -> None:
        self._sock, self._raw, self._until = sock, raw, until
        self._read_timeout_s = sock.gettimeout()
        self._late_bytes = _LATE_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            return self._take_what_has_come(buffer)
        self._sock.settimeout(left_s if self._read_timeout_s is None else min(self._read_timeout_s, left_s))
        return self._raw.readinto(buffer)

    def _take_what_has_come(self, buffer: Any) -> int:
        self._sock.settimeout(0)
        try:
            came = self._raw.readinto(buffer) if self._late_bytes > 0 else None
        except ssl.SSLWantReadError:
            came = None
        if came is None:
            raise TimeoutError("total deadline")
        self._late_bytes -= came
        return came

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        until = _deadline.get()
        if until is not None:
            self.fp = io.BufferedReader(_DeadlineReader(sock, self.fp.detach(), until))


class _SendsByDeadline(http.client.HTTPConnection):
    """Sends in slices, each within what is left: left alone, a connection applies its connect time-out to sending."""

    response_class = _Response

    def send(self, data: Any) -> None:
        until = _deadline.get()
        if until is None or not isinstance(data, bytes):
            super().send(data)
            return
        view = memoryview(data)
        for start in range(0, len(view), _SEND_SLICE_BYTES):
            if self.sock is not None:
                self.sock.settimeout(_left_s(until))
            super().send(view[start : start + _SEND_SLICE_BYTES])


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """No redirect: `requests` would read its body whole, however long, even when told not to follow it."""


class _HTTPConnection(_SendsByDeadline, urllib3.connection.HTTPConnection):
    pass


class _HTTPSConnection(_SendsByDeadline, urllib3.connection.HTTPSConnection):
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class DeadlineAdapter(requests.adapters.HTTPAdapter):
    """Its connections keep the deadline (see `deadline`), and share one list of trusted authorities.

    `requests` reads that list anew for each connection, which is most of what a connection costs.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As requests does, with pools whose connections keep the deadline."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """As requests does, with one TLS context a list of authorities: reading the list takes 30 ms of CPU."""
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
        if conn.ca_certs is not None:
            conn.conn_kw["ssl_context"], conn.ca_certs = _trusting(conn.ca_certs), None


@cache
def _trusting(authorities: str) -> ssl.SSLContext:
    """What verifies servers by a file of authorities. Connections set on it what is the same for all of them."""
    context = urllib3.util.ssl_.create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    context.load_verify_locations(authorities)
    return context
