"""The table of transport faults: each bends the answer that would have been sent into another one.

Owns what each fault does. Adding one is adding a row: the server asks the table and knows no fault by name.
"""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .exchange import (
    Answer,
    Drip,
    Endless,
    Hangup,
    Redirect,
    Reply,
    Reset,
    Silence,
    Truncated,
    json_reply,
)

CREATE: Final = "create"
POLL: Final = "poll"
OUTPUT: Final = "output"


@dataclass(frozen=True, slots=True)
class Fault:
    """`stages`: where a scenario may ask for it. `accepts`: at the create stage, whether the task comes to be (and is
    billed) behind the bent answer. A fault that does not accept is given an empty reply to bend."""

    stages: frozenset[str]
    bend: Callable[[Reply], Answer]
    accepts: bool = True


def _without_id(reply: Reply) -> Reply:
    body = json.loads(reply.body)
    body.pop("id", None)
    return json_reply(reply.status, body)


def _status(status: int, message: str, **headers: str) -> Callable[[Reply], Answer]:
    reply = json_reply(status, {"message": message}, {name.replace("_", "-"): value for name, value in headers.items()})
    return lambda _: reply


def _refused_without_id(_reply: Reply) -> Reply:
    error = {"code": 10004099, "error_message": "task creation error"}
    return json_reply(200, {"status": "failed", "error": error})


def _says_402(_reply: Reply) -> Reply:
    status = {"code": 402, "message": "Insufficient credits", "error_code": 40201}
    return json_reply(200, {"status": status, "data": None})


def _expired(_reply: Reply) -> Reply:
    body = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    return Reply(403, body, "application/xml")


def _cut_json(reply: Reply) -> Reply:
    return Reply(reply.status, reply.body[: len(reply.body) // 2], reply.content_type)


def _gzip_broken(reply: Reply) -> Reply:
    packed = bytearray(gzip.compress(reply.body, mtime=0))
    packed[10] |= 0b110  # the first block, behind the header, is now of the one type that does not exist
    return Reply(reply.status, bytes(packed), reply.content_type, {"Content-Encoding": "gzip"})


def _gzip_bomb(reply: Reply) -> Reply:
    return Reply(200, _gibibyte(), reply.content_type, {"Content-Encoding": "gzip"})


@functools.cache
def _gibibyte() -> bytes:
    """One GiB of zeros in one MiB: gzip members may follow one another, so that one of them is packed only."""
    return gzip.compress(bytes(16 * 1024 * 1024), mtime=0) * 64


def _html(_reply: Reply) -> Reply:
    return Reply(200, b"<html><body>Please try again later.</body></html>", "text/html")


_CREATE: Final = frozenset({CREATE})
_POLL: Final = frozenset({POLL})
_OUTPUT: Final = frozenset({OUTPUT})
_JSON: Final = _CREATE | _POLL
_LATER: Final = _POLL | _OUTPUT
_ALL: Final = _CREATE | _LATER
_INTERNAL: Final = _status(500, "internal error")
_BUSY: Final = "service unavailable"

FAULTS: Final[dict[str, Fault]] = {
    # A create that is accepted, whatever its sender hears.
    "accept_then_reset": Fault(_CREATE, lambda _: Reset()),
    "accept_then_close": Fault(_CREATE, lambda _: Hangup()),
    "accept_never_answer": Fault(_CREATE, lambda _: Silence()),
    "http_408_after_accept": Fault(_CREATE, _status(408, "request timeout")),
    "http_409_after_accept": Fault(_CREATE, _status(409, "conflict")),
    "http_425_after_accept": Fault(_CREATE, _status(425, "too early")),
    "http_500_after_accept": Fault(_CREATE, _INTERNAL),
    "http_502_after_accept": Fault(_CREATE, lambda _: Reply(502, b"<html>Bad Gateway</html>", "text/html")),
    "http_503_after_accept": Fault(_CREATE, _status(503, _BUSY, Retry_After="1")),
    "http_504_after_accept": Fault(_CREATE, _status(504, "gateway timeout")),
    "no_id": Fault(_CREATE, _without_id),
    # A create that is not.
    "http_500_before_accept": Fault(_CREATE, _INTERNAL, accepts=False),
    "reset_before_accept": Fault(_CREATE, lambda _: Reset(), accepts=False),
    "refused_without_id": Fault(_CREATE, _refused_without_id, accepts=False),
    "says_402": Fault(_JSON, _says_402, accepts=False),
    # Where JSON is expected.
    "not_json": Fault(_JSON, lambda _: Reply(200, b"OK")),
    "html": Fault(_JSON, _html),
    "empty_body": Fault(_JSON, lambda _: Reply(200, b"")),
    "cut_json": Fault(_JSON, _cut_json),
    "truncated_body": Fault(_JSON, Truncated),
    # Anywhere; a create that meets them is accepted.
    "gzip_broken": Fault(_ALL, _gzip_broken),
    "redirect": Fault(_ALL, lambda _: Redirect("/elsewhere")),
    "redirect_loop": Fault(_ALL, lambda _: Redirect(status=307)),
    "slow_drip": Fault(_ALL, Drip),
    # Polls and downloads.
    "reset": Fault(_LATER, lambda _: Reset()),
    "close": Fault(_LATER, lambda _: Hangup()),
    "never_answer": Fault(_LATER, lambda _: Silence()),
    "http_401": Fault(_POLL, _status(401, "invalid api key")),
    "http_403": Fault(_LATER, _status(403, "permission denied")),
    "http_404": Fault(_LATER, _status(404, "not found")),
    "http_429": Fault(_LATER, _status(429, "rate limit")),
    "http_429_retry_after": Fault(_LATER, _status(429, "rate limit", Retry_After="1")),
    "http_500": Fault(_LATER, _INTERNAL),
    "http_503": Fault(_LATER, _status(503, _BUSY)),
    # Downloads.
    "url_expired": Fault(_OUTPUT, _expired),
    "truncated_output": Fault(_OUTPUT, Truncated),
    "slow_output": Fault(_OUTPUT, lambda reply: Drip(reply, step_bytes=64 * 1024, pause_s=0.2)),
    "endless": Fault(_OUTPUT, Endless),
    "endless_unframed": Fault(_OUTPUT, lambda reply: Endless(reply, chunked=False)),
    "gzip_bomb": Fault(_OUTPUT, _gzip_bomb),
    "not_a_video": Fault(_OUTPUT, _html),
    "text_as_video": Fault(_OUTPUT, lambda reply: Reply(200, b"no film here\n" * 1000, reply.content_type)),
}
