"""The proxy that breaks connections breaks them as it says: each fault against a server that tells what reached it."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.proxy import PASS, Fault, FaultProxy
from tests.support.waiting import wait_until


class Recorder(socketserver.ThreadingTCPServer):
    """Answers every chunk with itself in capitals, and remembers what came and how many connections ended."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.got = b""
        self.ended = 0
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(socketserver.BaseRequestHandler):
    server: Recorder

    def handle(self) -> None:
        while chunk := self.request.recv(1 << 16):
            self.server.got += chunk
            self.request.sendall(chunk.upper())

    def finish(self) -> None:
        self.server.ended += 1


@pytest.fixture
def server() -> Iterator[Recorder]:
    with Recorder() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def proxy(server: Recorder) -> Iterator[FaultProxy]:
    with FaultProxy(server.server_address[1]) as ours:
        yield ours


def connected(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def said(client: socket.socket, text: bytes) -> bytes:
    """What is answered to `text`: empty when the connection ends first."""
    try:
        client.sendall(text)
        return client.recv(1 << 16)
    except ConnectionError:
        return b""


def is_silent(client: socket.socket) -> bool:
    client.settimeout(0.1)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    except ConnectionError:
        return False
    return False


def test_without_a_fault_all_bytes_pass_both_ways(proxy: FaultProxy) -> None:
    text = b"word" * 50_000
    with connected(proxy) as client:
        client.sendall(text)
        got = b""
        while len(got) < len(text):
            got += client.recv(1 << 16)
    assert got == text.upper()
    assert (proxy.connections, proxy.cuts) == (1, 0)


def test_latency_is_added_each_way_and_ends_with_the_fault(proxy: FaultProxy) -> None:
    with connected(proxy) as client:
        proxy.fault = Fault(latency_s=0.2)
        begun = time.monotonic()
        assert said(client, b"a") == b"A"
        assert time.monotonic() - begun >= 0.4
        proxy.fault = PASS
        assert said(client, b"b") == b"B"


def test_a_black_hole_takes_everything_and_says_nothing(proxy: FaultProxy, server: Recorder) -> None:
    proxy.fault = Fault(swallow=True)
    with connected(proxy) as client:
        client.sendall(b"a")
        assert is_silent(client)
        proxy.fault = PASS
        client.sendall(b"b")
        assert is_silent(client)  # bytes of this connection are missing: it can't go on
    with connected(proxy) as client:
        assert said(client, b"c") == b"C"
    assert server.got == b"c"


def test_nobody_listens_when_it_refuses_and_the_port_comes_back(proxy: FaultProxy) -> None:
    with connected(proxy) as client:
        assert said(client, b"a") == b"A"
        proxy.fault = Fault(refuse=True)
        assert said(client, b"b") == b""
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    proxy.fault = PASS
    with connected(proxy) as client:
        assert said(client, b"c") == b"C"


def test_a_half_open_connection_lost_its_server_and_does_not_know(proxy: FaultProxy, server: Recorder) -> None:
    with connected(proxy) as client:
        assert said(client, b"a") == b"A"
        proxy.half_open()
        wait_until(lambda: server.ended == 1, what="the server's end")
        client.sendall(b"b")
        assert is_silent(client)
        with connected(proxy) as other:
            assert said(other, b"c") == b"C"
    assert server.got == b"ac"


def test_a_cut_ends_what_is_open_and_nothing_else(proxy: FaultProxy) -> None:
    with connected(proxy) as client:
        assert said(client, b"a") == b"A"
        proxy.cut()
        assert said(client, b"b") == b""
    with connected(proxy) as client:
        assert said(client, b"c") == b"C"


@pytest.mark.parametrize(
    ("fault", "reached", "answered"),
    [
        (Fault(cut_after_bytes=3), b"abc", (b"", b"ABC")),
        (Fault(cut_after_bytes=3, direction="to_client"), b"abcdef", (b"ABC",)),
        (Fault(cut_on=b"cd"), b"", (b"",)),
        (Fault(cut_on=b"cd", forwarded=True), b"abcdef", (b"",)),
        (Fault(cut_on=b"CD", direction="to_client"), b"abcdef", (b"",)),
        (Fault(cut_on=b"CD", direction="to_client", forwarded=True), b"abcdef", (b"ABCDEF", b"")),
    ],
)
def test_a_cut_lets_through_what_it_says(
    proxy: FaultProxy, server: Recorder, fault: Fault, reached: bytes, answered: tuple[bytes, ...]
) -> None:
    proxy.fault = fault
    with connected(proxy) as client:
        # A reset may overtake what was sent just before it.
        assert said(client, b"abcdef") in answered
        wait_until(lambda: server.ended == 1, what="the end of the connection")
    assert server.got == reached
    assert proxy.cuts == 1


def test_a_pattern_is_found_across_chunks(proxy: FaultProxy, server: Recorder) -> None:
    proxy.fault = Fault(cut_on=b"cd")
    with connected(proxy) as client:
        assert said(client, b"abc") == b"ABC"
        assert said(client, b"def") == b""
    assert server.got == b"abc"
