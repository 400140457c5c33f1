"""One output fetched to a `.part` file, resumed where it breaks off. Refuses what is too big, too slow or a web page.

No URL appears in an exception or a log: they are signed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

import requests

from tasks.media.errors import FetchError, FetchExpired, FetchInterrupted, FetchRefused
from tasks.media.partial import Partial
from tasks.media.resume import Whole, declared_bytes
from tasks.media.sniff import is_web_page
from tasks.outward import AddressRefused
from tasks.transport import TRANSPORT_ERRORS, Deadlines, deadline, left_s

MAX_REDIRECTS: Final = 3
MAX_RESUMES: Final = 5

_CHUNK_BYTES: Final = 512 * 1024
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_EXPIRED: Final = frozenset({401, 403, 404, 410})
_BUSY_4XX: Final = frozenset({408, 425, 429})
_HEADERS: Final = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "reelworks"}


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole file on disk: its size, its SHA-256 (hex), and the media type that the server claimed for it."""

    size_bytes: int
    sha256: str
    content_type: str | None


class _NoUrls(logging.Filter):
    """Drops what urllib3 logs with a URL in it: every request at DEBUG, headers it could not parse as a warning."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.DEBUG and not str(record.msg).startswith("Failed to parse headers")


_NO_URLS: Final = _NoUrls()
for _name in ("urllib3.connectionpool", "urllib3.connection", "urllib3.response"):
    logging.getLogger(_name).addFilter(_NO_URLS)


def fetch(
    url: str,
    part_path: Path,
    *,
    session: requests.Session,
    max_bytes: int,
    within: Deadlines,
    has_room: Callable[[int], bool] = lambda _more_bytes: True,
) -> Fetched:
    """Stream `url` to `part_path`, following at most three redirects, by a session of `tasks.outward`, whose kept
    connections are used again.

    `within` bounds the whole: redirects, and the resumes of a transfer that breaks off. `has_room` says whether so many
    more bytes may be written. On any failure `part_path` is removed.
    Raises `FetchExpired`, `FetchRefused`, `FetchInterrupted` or `NoRoom`; an `OSError` is the local disk's.
    """
    try:
        with deadline(within.total_s), part_path.open("wb", buffering=_CHUNK_BYTES) as file:
            partial = Partial(file, max_bytes, has_room)
            content_type = _transfer(session, url, within, partial)
        _check_file(content_type, partial)
        return Fetched(partial.size_bytes, partial.sha256, content_type)
    except BaseException as error:
        part_path.unlink(missing_ok=True)
        if isinstance(error, FetchError):
            error.__context__ = None  # the library's own error: its text has the URL
        raise


def _transfer(session: requests.Session, url: str, within: Deadlines, partial: Partial) -> str | None:
    """Write all of the file; returns its claimed media type. Resumes what broke off, if more of it came each time."""
    whole: Whole | None = None
    for _ in range(1 + MAX_RESUMES):
        asked = None if whole is None else whole.range_from(partial.size_bytes)
        with _open(session, url, within, asked or {}) as response:
            continued = whole if asked else None
            whole = _continues(response, continued, partial) or _begins(response, continued, partial)
            if whole is None:
                continue
            before_bytes = partial.size_bytes
            try:
                _receive(response, partial, whole.size_bytes)
            except FetchInterrupted:
                resumable = whole.range_from(partial.size_bytes) is not None
                if not (resumable and partial.size_bytes > before_bytes):
                    raise
            else:
                return whole.content_type
    raise FetchInterrupted(f"broke off {1 + MAX_RESUMES} times")


def _continues(response: requests.Response, continued: Whole | None, partial: Partial) -> Whole | None:
    """The file that goes on in this response where `partial` ends; `None` if it does not."""
    rest_bytes = None if continued is None else continued.rest_in(response, partial.size_bytes)
    if rest_bytes is None:
        return None
    partial.expect(rest_bytes)
    return continued


def _begins(response: requests.Response, continued: Whole | None, partial: Partial) -> Whole | None:
    """The file that this response sends from its beginning; `None` if it has to be asked for without a range."""
    partial.start_over()
    if continued is not None and response.status_code in {206, 416}:
        return None
    _check_status(response.status_code)
    whole = Whole.of(response)
    partial.expect(declared_bytes(response) or 0)
    return whole


def _receive(response: requests.Response, partial: Partial, whole_bytes: int | None) -> None:
    while chunk := _next_chunk(response):
        partial.write(chunk)
    if whole_bytes not in {None, partial.size_bytes}:
        raise FetchInterrupted("not as long as declared")


def _open(session: requests.Session, url: str, within: Deadlines, more_headers: Mapping[str, str]) -> requests.Response:
    """The response at the end of the redirects, its body not yet read."""
    allowed = {"https"} if _scheme(url) == "https" else {"http", "https"}
    headers = {**_HEADERS, **more_headers}
    for _ in range(MAX_REDIRECTS + 1):
        if _scheme(url) not in allowed:
            raise FetchRefused("the address is not http(s), or leaves https")
        try:
            connect_s, read_s = within.timeouts_s
            timeouts_s = (min(connect_s, left_s()), read_s)
            response = session.get(url, headers=headers, timeout=timeouts_s, allow_redirects=False, stream=True)
        except AddressRefused as error:
            raise FetchRefused(str(error)) from None
        except ValueError:
            raise FetchRefused("the address is unusable") from None
        except TRANSPORT_ERRORS as error:
            raise FetchInterrupted(type(error).__name__) from None
        if response.status_code not in _REDIRECTS:
            return response
        response.close()
        url = _join(url, response.headers.get("Location", ""))
    raise FetchRefused(f"more than {MAX_REDIRECTS} redirects")


def _check_status(status: int) -> None:
    if status == 200:
        return
    reason = f"HTTP {status}"
    if status in _EXPIRED:
        raise FetchExpired(reason)
    if status in _BUSY_4XX or status >= 500:
        raise FetchInterrupted(reason)
    raise FetchRefused(reason)


def _next_chunk(response: requests.Response) -> bytes:
    """What has come, up to a chunk; empty at the end. A body shorter than declared is an error of urllib3's."""
    try:
        chunk: bytes = response.raw.read1(_CHUNK_BYTES, decode_content=True)
    except TRANSPORT_ERRORS as error:
        raise FetchInterrupted(type(error).__name__) from None
    return chunk


def _check_file(content_type: str | None, partial: Partial) -> None:
    if partial.size_bytes == 0:
        raise FetchInterrupted("no bytes came")
    if is_web_page(content_type, partial.head):
        raise FetchRefused("a web page, not a file")


def _join(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return ""


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme.lower()
    except ValueError:
        return ""
