"""Connections that break on purpose, between any client and a real server. Knows bytes alone, no protocol."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

Direction = Literal["to_server", "to_client"]
_CHUNK_BYTES: Final = 1 << 16
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What befalls every connection, open or new. `cut_...`: counted and searched in one `direction`.

    `forwarded` says whether the bytes that end the pattern still reach the other side. Of those that reach the server
    the answer is awaited, so that what was asked is done, and the connection is cut in its place.
    """

    latency_s: float = 0.0
    swallow: bool = False
    """A black hole: connections are made, and what is sent is gone for good, after this fault has ended as well."""
    refuse: bool = False
    """Nobody listens, and open connections are reset."""
    cut_after_bytes: int | None = None
    cut_on: bytes | None = None
    forwarded: bool = False
    direction: Direction = "to_server"


PASS: Final = Fault()


class FaultProxy:
    """Hands bytes on between its clients and the server on `target_port`, and does what `fault` says to them.

    `fault` is set at any time. Counters: `connections` made, `cuts` by a pattern or a number of bytes.
    """

    def __init__(self, target_port: int, fault: Fault = PASS) -> None:
        self._target_port = target_port
        self._links: set[_Link] = set()
        self._lock = threading.Lock()
        self.connections = self.cuts = 0
        # Bound, never listening: keeps the port ours while nobody listens on it.
        self._place = _bound(0)
        self.port: int = self._place.getsockname()[1]
        self.redis_url = f"redis://127.0.0.1:{self.port}/0"
        self._listener: socket.socket | None = None
        self.fault = fault

    @property
    def fault(self) -> Fault:
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self._fault = fault
        if not fault.refuse and self._listener is None:
            self._listener = _bound(self.port)
            self._listener.listen(128)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        if fault.refuse and self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in `accept`
            self._listener.close()
            self._listener = None
            self.cut()

    def cut(self) -> None:
        """Reset every open connection, once; the clients have been told when this returns."""
        links = self._open_links()
        for link in links:
            link.reset()
        for link in links:
            link.join()

    def lead_to(self, port: int) -> None:
        """From now on hand on to another server on this machine; open connections are reset."""
        self._target_port = port
        self.cut()

    def half_open(self) -> None:
        """Take the server from every open connection without a word to the client; new ones are not touched."""
        for link in self._open_links():
            link.lose_server()

    def close(self) -> None:
        self.fault = Fault(refuse=True)
        self._place.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def count_cut(self) -> None:
        with self._lock:
            self.cuts += 1

    def forget(self, link: _Link) -> None:
        with self._lock:
            self._links.discard(link)

    def _open_links(self) -> list[_Link]:
        with self._lock:
            return list(self._links)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target_port), timeout=10)
                except OSError:
                    _reset(client)
                    continue
                server.settimeout(None)
                link = _Link(self, client, server)
                with self._lock:
                    self.connections += 1
                    self._links.add(link)
                    link.start()  # before anybody sees it, and waits for its end
                if self._fault.refuse:  # set while this one was being made
                    link.reset()


class _Link:
    """One connection through the proxy: two sockets, and a thread for each direction."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._dead = False  # what the client sends leads nowhere any more, and it does not know
        self._cut_at_answer = False
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        for ends in (("to_server", self._client, self._server), ("to_client", self._server, self._client)):
            thread = threading.Thread(target=self._pump, args=ends, daemon=True)
            self._threads.append(thread)
            thread.start()

    def join(self) -> None:
        """A socket that is closed while somebody reads from it is closed once that one has woken up."""
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(10)

    def reset(self) -> None:
        self._ended.set()
        self._proxy.forget(self)
        _reset(self._client)
        # No reset here: what was forwarded is to be read by the server, not dropped with the connection.
        _hang_up(self._server)

    def lose_server(self) -> None:
        self._dead = True
        _hang_up(self._server)

    def _pump(self, direction: Direction, source: socket.socket, sink: socket.socket) -> None:
        seen = _Seen(PASS)
        with suppress(OSError):
            while chunk := source.recv(_CHUNK_BYTES):
                fault = self._proxy.fault
                self._dead = self._dead or fault.swallow
                if self._dead:
                    continue
                if self._ended.wait(fault.latency_s):
                    return
                if seen.fault is not fault:
                    seen = _Seen(fault)
                passed = self._before_cut(seen, direction, chunk)
                sink.sendall(chunk if passed is None else chunk[:passed])
                if passed is not None:
                    self._proxy.count_cut()
                    self.reset()
                    return
        if direction == "to_server":
            self.reset()  # the client is gone
        elif not self._dead:
            with suppress(OSError):
                sink.shutdown(socket.SHUT_WR)  # no reset: the client is to read what the server said last

    def _before_cut(self, seen: _Seen, direction: Direction, chunk: bytes) -> int | None:
        """How much of the chunk goes through before the connection is cut; `None` when it is not cut here."""
        fault = seen.fault
        if direction == "to_client" and self._cut_at_answer:
            return 0
        if direction != fault.direction:
            return None
        found = seen.add(chunk)
        if fault.cut_after_bytes is not None and seen.count >= fault.cut_after_bytes:
            return max(0, len(chunk) - (seen.count - fault.cut_after_bytes))
        if not found:
            return None
        self._cut_at_answer = fault.forwarded and direction == "to_server"
        if self._cut_at_answer:
            return None
        return len(chunk) if fault.forwarded else 0


@dataclass
class _Seen:
    """What went one way through a connection since a fault began: the bytes' number, and the end of them."""

    fault: Fault
    count: int = 0
    tail: bytes = b""

    def add(self, chunk: bytes) -> bool:
        """Take the chunk in; true when the fault's pattern ends in it."""
        word, text = self.fault.cut_on, self.tail + chunk
        self.count += len(chunk)
        self.tail = text[1 - len(word) :] if word and len(word) > 1 else b""
        return word is not None and word in text


def _bound(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it
    end.close()


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it, and says nothing to the other side
    end.close()
