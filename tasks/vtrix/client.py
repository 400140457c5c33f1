"""The two calls of the provider's API: create and poll. Refuses to sleep, to retry, to redirect, to show its key.

Source: the provider's API reference for minimax_hailuo_02_i2v.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

import requests
import urllib3

from tasks.domain.answers import CreateOutcome, LookAgain, PollAnswer, Unknown, Unsent
from tasks.transport import TRANSPORT_ERRORS, Deadlines, deadline, new_session
from tasks.vtrix.outcomes import Reply, create_outcome, poll_answer

MAX_ANSWER_BYTES: Final = 1024 * 1024
CREATE_PATH: Final = "/model/v1/generation"
POLL_PATH: Final = "/model/v1/generation/task/"

_CHUNK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class NoReply:
    """A call that brought no whole reply. `reason` is a class name or our own words: errors' texts can carry URLs."""

    reason: str
    unsent: bool = False


def _utc_now() -> datetime:
    return datetime.now(UTC)


class VtrixClient:
    """One provider key. Safe to use from many threads; build it after the fork.

    Polls share up to `pool_size` kept connections. A create uses a connection of its own: a kept one that the provider
    has just closed would turn a create that was never read into one of unknown outcome.
    `key` appears in requests only; `alias` is the name by which it is known. `create` and `poll` bound a call of each
    kind, upload and answer included. Raises `ValueError` for a base URL that is not http(s) and for a key that cannot
    stand in a header.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        alias: str,
        *,
        create: Deadlines,
        poll: Deadlines,
        pool_size: int = 32,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("the provider's base URL must be http:// or https:// with a host and no query")
        # The characters are taken one by one, so that a `str` that hides itself when printed still gives its value.
        plain_key = "".join(key)
        if not plain_key or not all("!" <= character <= "~" for character in plain_key):
            raise ValueError(f"the provider key {alias!r} must be printable ASCII without spaces")
        self.alias = alias
        self._create_url, self._poll_url = (
            # As `requests` spells it (an international host, for one), so that every client asks for the same.
            str(requests.Request("GET", base_url.rstrip("/") + path).prepare().url)
            for path in (CREATE_PATH, POLL_PATH)
        )
        self._key = plain_key
        self._create, self._poll = create, poll
        self._now = now
        self._polls = new_session(pool_size)

    def __repr__(self) -> str:
        return f"VtrixClient(alias={self.alias!r})"

    def close(self) -> None:
        """Close the kept connections."""
        self._polls.close()

    def create(self, body: Mapping[str, Any]) -> CreateOutcome:
        """POST a create (`tasks.vtrix.mapping.create_body`) once, and say what is known of it.

        `Unsent` only when no connection was made: the name did not resolve, no address took a connection (refused, or
        unreachable), or the time-out passed first. A TLS failure is `Unknown`: OpenSSL reports one before and one after
        the request in the same way.
        """
        data = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
        with contextlib.closing(new_session(1)) as session:
            reply = self._call(session, "POST", self._create_url, self._create, data)
        if isinstance(reply, NoReply):
            return Unsent(reply.reason) if reply.unsent else Unknown(reply.reason)
        return create_outcome(reply, now=self._now(), hide=self._hidden(body))

    def poll(self, provider_task_id: str) -> PollAnswer:
        """GET a task's state once. A call that brought no reply is `LookAgain`."""
        reply = self._call(self._polls, "GET", self.poll_url(provider_task_id), self._poll)
        return self.answer_of(reply, provider_task_id)

    def poll_url(self, provider_task_id: str) -> str:
        """Where a task's state is to be had, for whoever asks about many at once."""
        return self._poll_url + quote(provider_task_id, safe="")

    def headers(self) -> dict[str, str]:
        """The headers of every request. They hold the key."""
        return {"Authorization": "Bearer " + self._key, "Accept": "application/json", "User-Agent": "reelworks"}

    def answer_of(self, reply: Reply | NoReply, provider_task_id: str) -> PollAnswer:
        """What came of a GET of `poll_url`, by whichever client: no reply is `LookAgain`."""
        if isinstance(reply, NoReply):
            return LookAgain(reply.reason)
        return poll_answer(reply, provider_task_id, now=self._now(), hide=(self._key,))

    def _call(
        self, session: requests.Session, method: str, url: str, within: Deadlines, data: bytes | None = None
    ) -> Reply | NoReply:
        headers = self.headers()
        if data is not None:
            headers["Content-Type"] = "application/json"
        try:
            with (
                deadline(within.total_s),
                session.request(
                    method,
                    url,
                    data=data,
                    headers=headers,
                    timeout=within.timeouts_s,
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                body = read_body(response.raw)
                if body is None:
                    return NoReply("AnswerTooLarge")
                return Reply(response.status_code, body, response.headers.get("Retry-After"))
        except TRANSPORT_ERRORS as error:
            reason = _unsent_reason(error)
            return NoReply(reason, unsent=True) if reason else NoReply(type(error).__name__)

    def _hidden(self, body: Mapping[str, Any]) -> Iterable[str]:
        """What no message about a create may repeat: the key, the prompt, the callback URL with its token."""
        params = [entry.get("params", {}) for entry in body.get("input", ())]
        return (self._key, *(str(p[name]) for p in params for name in ("prompt", "callback_url") if p.get(name)))


def read_body(response: urllib3.BaseHTTPResponse) -> bytes | None:
    """The whole body, `None` beyond `MAX_ANSWER_BYTES`. Reads what has come, so that a drip meets the deadline."""
    body = bytearray()
    while chunk := response.read1(_CHUNK_BYTES, decode_content=True):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            return None
    return bytes(body)


def _unsent_reason(error: BaseException) -> str | None:
    """Why a call provably sent nothing, or `None` when that cannot be proven."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(reason, urllib3.exceptions.NameResolutionError):
        return "NameNotResolved"
    if isinstance(reason, urllib3.exceptions.NewConnectionError):  # a subclass of the time-out, for no good reason
        # No address took a connection. Of several only the last one's error is known: a host without IPv6 reports an
        # unreachable network where the connection was in fact refused.
        return "ConnectionRefused" if isinstance(reason.__cause__, ConnectionRefusedError) else "NotConnected"
    return "ConnectTimeout" if isinstance(reason, urllib3.exceptions.ConnectTimeoutError) else None
