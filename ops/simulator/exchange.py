"""What the server can do with a request: answer it whole, in part, slowly, or not at all.

Owns the sending of each kind of answer on a Tornado connection. Refuses to decide which one: that is the server's, and
the fault table's.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import responses
from typing import Any, Final

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
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


Answer = Reply | Reset | Silence | Truncated | Drip


def json_reply(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(body, separators=(",", ":")).encode(), headers=headers or {})


def write_head(request: HTTPServerRequest, reply: Reply, length: int | None = None) -> None:
    """Sends status line, headers and body of `reply`. `length` stands in the head in place of the body's own length."""
    headers = HTTPHeaders()
    headers["Content-Type"] = reply.content_type
    headers["Content-Length"] = str(len(reply.body) if length is None else length)
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
        elif isinstance(answer, Truncated):
            body = answer.reply.body
            await stream.write(_raw_head(answer.reply) + body[: int(len(body) * answer.keep)])
        else:
            await stream.write(_raw_head(answer.reply))
            body = answer.reply.body
            for at in range(0, len(body), answer.step_bytes):
                await asyncio.sleep(answer.pause_s)
                await stream.write(body[at : at + answer.step_bytes])
    except StreamClosedError:
        pass
    finally:
        stream.close()


def connection_of(request: HTTPServerRequest) -> HTTP1Connection:
    """The HTTP/1 connection of a request."""
    connection = request.connection
    if not isinstance(connection, HTTP1Connection):
        raise TypeError("the simulator speaks HTTP/1 alone")
    return connection


def _phrase(status: int) -> str:
    return responses.get(status, "Unknown")  # gateways also send numbers that no standard names


def _raw_head(reply: Reply) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} {_phrase(reply.status)}", f"Content-Type: {reply.content_type}"]
    lines += [f"Content-Length: {len(reply.body)}", *(f"{name}: {value}" for name, value in reply.headers.items())]
    return ("\r\n".join(lines) + "\r\nConnection: close\r\n\r\n").encode("latin-1")
