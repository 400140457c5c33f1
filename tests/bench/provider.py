"""A provider that is fast and does little: every task completes some seconds after its create. Counts what it is asked.

It speaks the provider's wire as far as it is used: create, poll, and the film of a completed task. A task whose id
begins with `held-` was never created here and never completes. Under `/bench/` it says what it saw, and how much of a
core it used itself, so that it can be seen that it was no bottleneck.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Any

from tests.support.tls import CERTIFICATES

CREATE_PATH = "/model/v1/generation"
POLL_PATH = f"{CREATE_PATH}/task/"
_HEAD = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n"
_POLL, _FILM, _JSON = POLL_PATH.encode(), b"/film/", b"application/json"


class Tasks:
    """What was created and asked since `begin`. Instants are epoch seconds."""

    def __init__(self, url: str, complete_s: float) -> None:
        self.url = url
        self.begin(complete_s)

    def begin(self, complete_s: float) -> None:
        self.complete_s = complete_s
        self.tasks: dict[bytes, list[float]] = {}
        self.creates = self.polls = self.films = 0

    def create(self) -> bytes:
        now, self.creates = time.time(), self.creates + 1
        name = b"task%013d%06d" % (int(now * 1000), self.creates)
        # When it was created, when it completes, when that was first told (0: not yet), how often it was asked for.
        self.tasks[name] = [now, now + self.complete_s, 0.0, 0]
        return b'{"id":"%s","created_at":%d,"status":"in_progress","model":"minimax_hailuo_02_i2v"}' % (name, now)

    def poll(self, name: bytes) -> bytes | None:
        self.polls += 1
        task = self.tasks.get(name)
        if task is None:
            return _running(name, 0.5) if name.startswith(b"held-") else None
        now = time.time()
        task[3] += 1
        if now < task[1]:
            return _running(name, (now - task[0]) / (task[1] - task[0]))
        task[2] = task[2] or now
        return (
            b'{"id":"%s","status":"completed","progress":1,"created_at":%d,"model":"minimax_hailuo_02_i2v",'
            b'"output":[{"content":[{"type":"video","url":"%s/film/%s.mp4"}]}],'
            b'"usage":{"cost":"0.10","discount":1},"metadata":{"completed_at":%d}}'
        ) % (name, task[0], self.url.encode(), name, task[1])

    def seen(self) -> dict[str, Any]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "tasks": {name.decode(): task for name, task in self.tasks.items()},
            "creates": self.creates,
            "polls": self.polls,
            "films": self.films,
            "cpu_s": used.ru_utime + used.ru_stime,
        }


def _running(name: bytes, progress: float) -> bytes:
    return (
        b'{"id":"%s","status":"in_progress","progress":%.3f,"created_at":1700000000,"model":"minimax_hailuo_02_i2v"}'
    ) % (name, progress)


class Exchange(asyncio.Protocol):
    """One connection: requests are answered in their order, as soon as they have come whole."""

    def __init__(self, tasks: Tasks, film: bytes, big: Path | None) -> None:
        self._tasks, self._film, self._big = tasks, film, big
        self._come = b""
        self._sending: asyncio.Task[Any] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._out = transport

    def data_received(self, data: bytes) -> None:
        come = self._come + data if self._come else data
        while (head_ends := come.find(b"\r\n\r\n")) >= 0:
            ends = head_ends + 4
            head = come[:head_ends]
            if head[:3] != b"GET":
                ends += _length(head)
                if len(come) < ends:
                    break
            come = come[ends:]
            self._answer(head)
        self._come = come

    def _answer(self, head: bytes) -> None:
        method, path, _ = head.split(b"\r\n", 1)[0].split(b" ", 2)
        closes = b"connection: close" in head.lower()
        if path == b"/bench/big" and self._big is not None:
            self._send_big(self._big, closes)
            return
        status, kind, body = self._reply(method, path)
        self._out.write(_HEAD % (status, kind, len(body), b"close" if closes else b"keep-alive") + body)
        if closes:
            self._out.close()

    def _reply(self, method: bytes, path: bytes) -> tuple[bytes, bytes, bytes]:
        tasks = self._tasks
        if path.startswith(_POLL):
            body = tasks.poll(path[len(_POLL) :])
            return (b"200 OK", _JSON, body) if body is not None else (b"404 Not Found", _JSON, b'{"message":"no task"}')
        if method == b"POST" and path == CREATE_PATH.encode():
            return b"200 OK", _JSON, tasks.create()
        if path.startswith(_FILM):
            tasks.films += 1
            return b"200 OK", b"video/mp4", self._film
        if path.startswith(b"/bench/begin/"):
            tasks.begin(float(path.rpartition(b"/")[2]))
            return b"200 OK", _JSON, b"{}"
        if path == b"/bench/seen":
            return b"200 OK", _JSON, json.dumps(tasks.seen()).encode()
        if path == b"/bench/counts":
            seen = {"creates": tasks.creates, "polls": tasks.polls, "films": tasks.films}
            return b"200 OK", _JSON, json.dumps(seen).encode()
        return b"404 Not Found", _JSON, b"{}"

    def _send_big(self, path: Path, closes: bool) -> None:
        """A file that is not read here, so that whoever fetches it is what is measured."""
        self._out.write(_HEAD % (b"200 OK", b"video/mp4", path.stat().st_size, b"close" if closes else b"keep-alive"))

        async def send() -> None:
            with path.open("rb") as file:
                await asyncio.get_running_loop().sendfile(self._out, file)
            if closes:
                self._out.close()

        self._sending = asyncio.create_task(send())


def _length(head: bytes) -> int:
    found = head.lower().partition(b"content-length:")[2]
    return int(found.split(b"\r\n", 1)[0]) if found else 0


async def _relay(port: int, to_port: int, away_s: float) -> asyncio.Server:
    """The same server so many seconds away, there and back: TLS, which is spoken through it, pays for its ways too."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(1 << 18):
            loop.call_later(away_s / 2, writer.write, data)
        loop.call_later(away_s / 2, writer.close)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(away_s)  # of TCP's own handshake, which loopback does in no time
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", to_port)
        await asyncio.gather(pump(reader, to_writer), pump(to_reader, writer), return_exceptions=True)

    return await asyncio.start_server(connected, "127.0.0.1", port, backlog=4096)


async def _serve(asked: argparse.Namespace) -> None:
    context = None
    if asked.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
    film = asked.film.read_bytes()
    tasks = Tasks(f"{'https' if asked.tls else 'http'}://127.0.0.1:{asked.port}", 20.0)
    own_port = 0 if asked.away_ms else asked.port
    listener = socket.create_server(("127.0.0.1", own_port), backlog=4096)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Exchange(tasks, film, asked.big), sock=listener, ssl=context)
    if asked.away_ms:
        relay = await _relay(asked.port, listener.getsockname()[1], asked.away_ms / 1000)
        await relay.start_serving()
    parent = os.getppid()
    while os.getppid() == parent:  # whoever started it may be killed
        await asyncio.sleep(1)
    server.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.provider", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--film", type=Path, required=True, help="what every completed task gives")
    parser.add_argument("--big", type=Path, help="a file served under /bench/big")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--away-ms", type=float, default=0.0, help="the way there and back")
    asyncio.run(_serve(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
