"""Does it answer? One bounded question for each kind of part; anything but a good answer is `False`, never an error."""

from __future__ import annotations

import http.client
import secrets
import socket
import threading
from functools import cached_property
from urllib.parse import urlsplit

from celery import Celery
from kombu.exceptions import KombuError

from workers.celeryplace import asking

_TIMEOUT_S = 1.0
# Below the ports that systems hand out to outgoing connections (from 32768 on Linux, 49152 elsewhere): a client that
# retries while its server restarts can then never be given the server's own port.
_FIRST_PORT, _LAST_PORT = 20_000, 31_999
_given: set[int] = set()
_giving = threading.Lock()


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on at this moment, and that was not given to anyone in this process before.

    Whoever got one may not listen yet. Raises OSError when none is found.
    """
    for _ in range(100):
        port = _FIRST_PORT + secrets.randbelow(_LAST_PORT - _FIRST_PORT + 1)
        with _giving, socket.socket() as probe:
            if port in _given:
                continue
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            _given.add(port)
            return port
    raise OSError(f"no free port from {_FIRST_PORT} to {_LAST_PORT} on {host}")


def redis_answers(host: str, port: int) -> bool:
    """A Redis or Valkey server answers PING, which it refuses while it still loads its data."""
    try:
        with socket.create_connection((host, port), _TIMEOUT_S) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def http_answers(url: str) -> bool:
    """An HTTP server answers GET with a status below 500."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class WorkerProbe:
    """Asks Celery workers by their node name whether they take messages. Use from one thread; close after use."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url  # may be wrong, which whoever reads the settings says

    @cached_property
    def _app(self) -> Celery:
        # A broker that does not answer is an answer too: no connection is tried for longer than a question may take.
        return asking("probe", self._redis_url, socket_timeout=2, socket_connect_timeout=_TIMEOUT_S)

    def answers(self, node: str) -> bool:
        """Whether the worker of that node name answers within a moment."""
        try:
            return bool(self._app.control.ping(destination=[node], timeout=_TIMEOUT_S))
        except (OSError, KombuError):
            return False

    def close(self) -> None:
        """Close its connections to the broker."""
        app = self.__dict__.pop("_app", None)
        if app is not None:
            app.close()
