"""What is still read of an answer when the process slept beyond the call's deadline while it came."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tasks.transport import _LATE_BYTES, _DeadlineReader


@pytest.fixture
def wire() -> Iterator[tuple[socket.socket, io.BufferedReader]]:
    """The server's end, and the client's reader, whose deadline has passed."""
    server, client = socket.socketpair()
    with server, client:
        yield server, io.BufferedReader(_DeadlineReader(client, client.makefile("rb").detach(), time.monotonic() - 60))


def test_an_answer_that_has_come_is_read_to_its_end(wire: tuple[socket.socket, io.BufferedReader]) -> None:
    server, reader = wire
    server.sendall(b"HTTP/1.1 201 Created\r\n" + b"x" * 20_000)
    assert reader.readline() == b"HTTP/1.1 201 Created\r\n"
    assert reader.read(20_000) == b"x" * 20_000


def test_what_has_not_come_is_not_waited_for(wire: tuple[socket.socket, io.BufferedReader]) -> None:
    server, reader = wire
    server.sendall(b"HTTP/1.1 201")
    with pytest.raises(TimeoutError):
        reader.readline()


def test_an_answer_without_end_is_not_read_for_ever(wire: tuple[socket.socket, io.BufferedReader]) -> None:
    server, reader = wire
    sending = threading.Thread(target=send_on, args=(server,))
    sending.start()
    with pytest.raises(TimeoutError):
        reader.read(10 * _LATE_BYTES)
    server.shutdown(socket.SHUT_RDWR)
    sending.join()


def send_on(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            server.sendall(b"x" * 10_000)
