"""The HTTP gateway as the producer asks it for what is not in Redis: lists of jobs, and stored files.

Owns the key: it goes to the gateway alone, never where a redirect leads. Refuses to repeat a question by itself, and to
quote an address, which may be signed.
"""

from __future__ import annotations

import http.client
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode, urljoin, urlsplit

from .errors import GatewayAway, GatewayRefused, IdempotencyConflict, Problem, ReelworksError, RequestInvalid
from .exchange import EXCHANGE_ERRORS, Deadlines, get
from .jobs import JobView, State
from .records import decode_job

PAGE: Final = 200
"""Jobs that the gateway lists at once, at most."""
_ANSWER_MAX_BYTES: Final = 64 * 1024 * 1024
_SHOWN_CHARS: Final = 300
_OK: Final = (http.client.OK, http.client.PARTIAL_CONTENT)
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_COME_BACK: Final = (408, 425, 429)


class Gateway:
    """Asks as one key. Without `url` and `api_key` every question raises `GatewayRefused`, which says what to set."""

    def __init__(self, url: str | None = None, api_key: str | None = None, deadlines: Deadlines | None = None) -> None:
        # Neither is quoted: an address can hold a password, and http.client would show a key that it can't send.
        if url is not None and not _is_address(url):
            raise ValueError("gateway_url must be http(s)://host, perhaps with a port and a path")
        if api_key is not None and not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
            raise ValueError("api_key must be visible ASCII characters without spaces")
        self._url = None if url is None else url.rstrip("/")
        self._key, self._deadlines = api_key, deadlines or Deadlines()

    def pages(self, states: Sequence[State], batch_id: str | None, most: int | None) -> Iterator[list[JobView]]:
        """The caller's jobs, the latest first, page by page; `most` of them in all.

        Raises `GatewayRefused`, `GatewayAway`, `RequestInvalid`.
        """
        cursor: str | None = None
        while most is None or most > 0:
            query: dict[str, Any] = {"limit": PAGE if most is None else min(PAGE, most), "state": list(states)}
            query |= {name: value for name, value in (("batch_id", batch_id), ("cursor", cursor)) if value is not None}
            page = self._ask(f"/v1/jobs?{urlencode(query, doseq=True)}")
            listed, cursor = page.get("jobs"), page.get("next_cursor")
            if not isinstance(listed, list) or not isinstance(cursor, str | None):
                raise _no_gateway()
            # One in a state of a later release can't be told of.
            yield [view for view in map(decode_job, listed) if view is not None]
            if cursor is None:
                return
            most = None if most is None else most - len(listed)

    def job(self, job_id: str, until_s: float) -> JobView:
        """A job as the ledger has it. `until_s`: monotonic clock. Raises `GatewayRefused`, `GatewayAway`."""
        view = decode_job(self._ask(f"/v1/jobs/{quote(job_id, safe='')}", until_s))
        if view is None:
            raise _no_gateway()
        return view

    @contextmanager
    def output(self, job_id: str, index: int, start: int, until_s: float) -> Iterator[http.client.HTTPResponse]:
        """An output's bytes from `start` on, or from 0 where the answer's status is 200. `until_s`: monotonic clock.

        Comes from the gateway, or from the object store that it redirects to. Raises `GatewayRefused`, `GatewayAway`;
        reading the answer raises `EXCHANGE_ERRORS`.
        """
        wanted = {"Range": f"bytes={start}-"} if start else {}
        path = f"/v1/jobs/{quote(job_id, safe='')}/outputs/{index}"
        with self._get(path, wanted, until_s) as (url, answer):
            if answer.status not in _REDIRECTS:
                yield _accepted(answer)
                return
            place = _place(url, answer.headers.get("Location", ""))
        # Of its own kind: the address opens the file by itself, and the key is no business of whoever has it.
        with _answered(place, wanted, self._deadlines, until_s, "the object store") as answer:
            if answer.status not in _OK:
                raise GatewayAway(f"the object store did not hand out the file ({answer.status}); ask again later")
            yield answer

    def _ask(self, path: str, until_s: float = math.inf) -> Any:
        """The JSON object at a path. Raises `GatewayRefused`, `GatewayAway`, `RequestInvalid`."""
        until_s = min(until_s, time.monotonic() + self._deadlines.total_s)
        with self._get(path, {}, until_s) as (_, answer):
            if answer.status in _REDIRECTS:
                sentence = f"the gateway redirects ({answer.status}): name the address that it redirects to"
                raise GatewayRefused(sentence, code=f"http_{answer.status}", status=answer.status)
            found = _json(_accepted(answer))
        if not isinstance(found, dict):
            raise _no_gateway()
        return found

    @contextmanager
    def _get(
        self, path: str, headers: Mapping[str, str], until_s: float
    ) -> Iterator[tuple[str, http.client.HTTPResponse]]:
        if self._url is None or self._key is None:
            missing = (
                "gateway_url=... (REELWORKS_GATEWAY_URL)" if self._url is None else "api_key=... (REELWORKS_API_KEY)"
            )
            sentence = f"this goes through the HTTP gateway: give Producer {missing}"
            raise GatewayRefused(sentence, code="gateway_unset")
        url = self._url + path
        headers = {**headers, "Authorization": f"Bearer {self._key}", "Accept": "*/*"}
        with _answered(url, headers, self._deadlines, until_s, "the gateway") as answer:
            yield url, answer


@contextmanager
def _answered(
    url: str, headers: Mapping[str, str], deadlines: Deadlines, until_s: float, who: str
) -> Iterator[http.client.HTTPResponse]:
    """The answer, once its head is there. Raises `GatewayAway` before that; afterwards what reading raises."""
    with ExitStack() as stack:
        try:
            answer = stack.enter_context(get(url, headers, deadlines, until_s))
        except EXCHANGE_ERRORS as error:
            raise GatewayAway(f"{who} did not answer ({type(error).__name__}); ask again later") from None
        yield answer


def _json(answer: http.client.HTTPResponse) -> Any:
    """The body as JSON values; `None` for what is none. Raises `GatewayAway`."""
    try:
        data = answer.read(_ANSWER_MAX_BYTES)
        complete = not answer.length
    except EXCHANGE_ERRORS as error:
        raise GatewayAway(f"the gateway's answer broke off ({type(error).__name__}); ask again later") from None
    if not complete:
        raise GatewayAway("the gateway's answer broke off; ask again later")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _accepted(answer: http.client.HTTPResponse) -> http.client.HTTPResponse:
    """The answer, if it is what was asked for. Raises the error that a problem document (RFC 9457) tells of."""
    if answer.status in _OK:
        return answer
    # Another server's page is not shown: nobody knows what stands in it.
    is_problem = answer.headers.get_content_type() == "application/problem+json"
    found = _json(answer) if is_problem else None
    raise _error_of(answer, found if isinstance(found, dict) else {})


def _error_of(answer: http.client.HTTPResponse, problem: Mapping[str, Any]) -> ReelworksError:
    code = problem.get("code")
    if not isinstance(code, str):
        code = f"http_{answer.status}"
    detail = str(problem.get("detail") or problem.get("title") or answer.reason)[:_SHOWN_CHARS]
    broken = [_problem(each) for each in problem.get("errors") or () if isinstance(each, dict)]
    if broken:
        return RequestInvalid(broken)
    if code == "idempotency_conflict" and isinstance(problem.get("job_id"), str):
        return IdempotencyConflict(problem["job_id"])
    if answer.status >= 500 or answer.status in _COME_BACK:
        after = answer.headers.get("Retry-After", "")
        after_s = float(after) if after.isascii() and after.isdigit() and len(after) < 7 else None
        when = "later" if after_s is None else f"in {after_s:g} s"
        return GatewayAway(f"the gateway can't answer now: {detail} [{code}]; ask again {when}", retry_after_s=after_s)
    return GatewayRefused(f"the gateway refused: {detail} [{code}]", code=code, status=answer.status)


def _problem(raw: Mapping[str, Any]) -> Problem:
    return Problem(*(str(raw.get(name, ""))[:_SHOWN_CHARS] for name in ("field", "code", "message")))


def _no_gateway() -> GatewayRefused:
    sentence = "what answers at gateway_url is no gateway that this release knows: see whose address it is"
    return GatewayRefused(sentence, code="not_a_gateway")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url
    return plain and parts.scheme in {"http", "https"} and bool(parts.hostname) and not (parts.query or parts.fragment)


def _place(asked: str, location: str) -> str:
    """Where a redirect leads. Raises `GatewayRefused` for what is no address, or gives up encryption."""
    try:
        place = urljoin(asked, location)
    except ValueError:  # its text can quote the address
        place = ""
    gives_up = asked.startswith("https:") and not place.startswith("https:")
    if not location or not _is_address(place.partition("?")[0]) or gives_up:
        sentence = (
            "the gateway redirects to what is no address, or to one that is not encrypted as its own is: have its"
            " operator see where it keeps files"
        )
        raise GatewayRefused(sentence, code="bad_redirect")
    return place
