"""What the server can do with a request: answer it whole, in part, slowly, or not at all.

Owns the sending of each kind of answer on a Tornado connection. Refuses to decide which one: that is the server's, and
the fault table's.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from http.client import responses
from typing import Any, Final

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine, format_timestamp
from tornado.iostream import StreamClosedError

JSON_TYPE: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP answer. `headers` come on top of the content type and length."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset (RST): no answer, no orderly end."""


@dataclass(frozen=True, slots=True)
class Hangup:
    """The connection is closed in good order (FIN): no answer."""


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer, for as long as the client keeps the connection."""


@dataclass(frozen=True, slots=True)
class Truncated:
    """The head promises `reply` whole; the connection closes after `keep` (0..1) of its body."""

    reply: Reply
    keep: float = 0.5


@dataclass(frozen=True, slots=True)
class Drip:
    """`reply`, byte after byte: `step_bytes` every `pause_s` (real seconds)."""

    reply: Reply
    step_bytes: int = 1
    pause_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Endless:
    """`reply` with a body that starts anew for as long as the client takes it: in chunks, or without any framing."""

    reply: Reply
    chunked: bool = True


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect to `location`, or without one back to the very address that was asked."""

    location: str | None = None
    status: int = 302


Answer = Reply | Reset | Hangup | Silence | Truncated | Drip | Endless | Redirect


def json_reply(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """A reply whose body is `body` as compact JSON."""
    return Reply(status, json.dumps(body, separators=(",", ":")).encode(), headers=headers or {})


def write_head(request: HTTPServerRequest, reply: Reply, length: int | None = None) -> None:
    """Sends status line, headers and body of `reply`. `length` stands in the head in place of the body's own length."""
    headers = HTTPHeaders()
    headers["Content-Type"] = reply.content_type
    headers["Content-Length"] = str(len(reply.body) if length is None else length)
    headers["Date"] = format_timestamp(time.time())
    for name, value in reply.headers.items():
        headers[name] = value
    line = ResponseStartLine("HTTP/1.1", reply.status, _phrase(reply.status))
    connection_of(request).write_headers(line, headers, reply.body)


def send_reply(request: HTTPServerRequest, reply: Reply) -> None:
    """Sends a whole answer, without waiting for the client to take it."""
    write_head(request, reply)
    connection_of(request).finish()


async def send(request: HTTPServerRequest, answer: Answer) -> None:
    """Does what `answer` says. A client that leaves meanwhile is no error."""
    if isinstance(answer, Redirect):
        answer = Reply(answer.status, b"", headers={"Location": answer.location or request.uri or "/"})
    if isinstance(answer, Reply):
        send_reply(request, answer)
        return
    stream = connection_of(request).detach()
    try:
        if isinstance(answer, Reset):
            # Linger on, for no time: close() then sends RST in place of FIN.
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif isinstance(answer, Silence):
            await stream.read_until_close()
        elif not isinstance(answer, Hangup):
            async for piece in _pieces(answer):
                await stream.write(piece)  # waits until the client has taken it
    except StreamClosedError:
        pass
    finally:
        stream.close()


async def _pieces(answer: Truncated | Drip | Endless) -> AsyncIterator[bytes]:
    """All that goes out, in the pieces and at the pace of this answer."""
    body = answer.reply.body
    if isinstance(answer, Truncated):
        yield _raw_head(answer.reply) + body[: int(len(body) * answer.keep)]
    elif isinstance(answer, Drip):
        yield _raw_head(answer.reply)
        for at in range(0, len(body), answer.step_bytes):
            await asyncio.sleep(answer.pause_s)
            yield body[at : at + answer.step_bytes]
    else:
        yield _raw_head(answer.reply, "Transfer-Encoding: chunked\r\n" if answer.chunked else "")
        piece = body or b"\0"
        while True:
            yield b"%x\r\n%b\r\n" % (len(piece), piece) if answer.chunked else piece
            await asyncio.sleep(0)  # a client that takes all at once is not to keep the loop from others


def connection_of(request: HTTPServerRequest) -> HTTP1Connection:
    """The HTTP/1 connection of a request."""
    connection = request.connection
    if not isinstance(connection, HTTP1Connection):
        raise TypeError("the simulator speaks HTTP/1 alone")
    return connection


def _phrase(status: int) -> str:
    return responses.get(status, "Unknown")  # gateways also send numbers that no standard names


def _raw_head(reply: Reply, framing: str | None = None) -> bytes:
    if framing is None:
        framing = f"Content-Length: {len(reply.body)}\r\n"
    lines = [f"HTTP/1.1 {reply.status} {_phrase(reply.status)}", f"Content-Type: {reply.content_type}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    return ("\r\n".join(lines) + f"\r\n{framing}Connection: close\r\n\r\n").encode("latin-1")
