"""The table of transport faults: each bends the answer that would have been sent into another one.

Owns what each fault does. Adding one is adding a row: the server asks the table and knows no fault by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .exchange import Answer, Drip, Reply, Reset, Silence, Truncated, json_reply

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


def _internal(_reply: Reply) -> Reply:
    return json_reply(500, {"message": "internal error"})


def _refused_without_id(_reply: Reply) -> Reply:
    error = {"code": 10004099, "error_message": "task creation error"}
    return json_reply(200, {"status": "failed", "error": error})


def _expired(_reply: Reply) -> Reply:
    body = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    return Reply(403, body, "application/xml")


_HTML: Final = Reply(200, b"<html><body>Please try again later.</body></html>", "text/html")
_CREATE: Final = frozenset({CREATE})
_POLL: Final = frozenset({POLL})
_OUTPUT: Final = frozenset({OUTPUT})
_LATER: Final = _POLL | _OUTPUT
_ALL: Final = _CREATE | _LATER

FAULTS: Final[dict[str, Fault]] = {
    "accept_then_reset": Fault(_CREATE, lambda _: Reset()),
    "accept_never_answer": Fault(_CREATE, lambda _: Silence()),
    "http_500_after_accept": Fault(_CREATE, _internal),
    "http_502_after_accept": Fault(_CREATE, lambda _: Reply(502, b"<html>Bad Gateway</html>", "text/html")),
    "http_500_before_accept": Fault(_CREATE, _internal, accepts=False),
    "reset_before_accept": Fault(_CREATE, lambda _: Reset(), accepts=False),
    "no_id": Fault(_CREATE, _without_id),
    "refused_without_id": Fault(_CREATE, _refused_without_id, accepts=False),
    "not_json": Fault(_CREATE | _POLL, lambda _: _HTML),
    "redirect": Fault(_ALL, lambda _: Reply(302, b"", headers={"Location": "/elsewhere"})),
    "truncated_body": Fault(_CREATE | _POLL, Truncated),
    "slow_drip": Fault(_CREATE | _POLL, Drip),
    "reset": Fault(_LATER, lambda _: Reset()),
    "never_answer": Fault(_LATER, lambda _: Silence()),
    "http_500": Fault(_LATER, _internal),
    "http_404": Fault(_LATER, lambda _: json_reply(404, {"message": "not found"})),
    "http_429": Fault(_LATER, lambda _: json_reply(429, {"message": "rate limit"})),
    "url_expired": Fault(_OUTPUT, _expired),
    "truncated_output": Fault(_OUTPUT, Truncated),
    "slow_output": Fault(_OUTPUT, lambda reply: Drip(reply, step_bytes=64 * 1024, pause_s=0.2)),
    "not_a_video": Fault(_OUTPUT, lambda _: _HTML),
}
