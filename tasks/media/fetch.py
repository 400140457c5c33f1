"""One output fetched to a `.part` file, hashed on the way. Refuses what is too big, too slow, cut short or a web page.

No URL appears in an exception or a log: they are signed.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

import requests

from tasks.media.errors import FetchError, FetchExpired, FetchInterrupted, FetchRefused
from tasks.media.sniff import HEAD_BYTES, is_web_page
from tasks.transport import TRANSPORT_ERRORS, Deadlines, deadline, new_session

MAX_REDIRECTS: Final = 3

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


def fetch(url: str, part_path: Path, *, max_bytes: int, within: Deadlines) -> Fetched:
    """Stream `url` to `part_path`, following at most three redirects.

    `within` bounds the whole, redirects included. On any failure `part_path` is removed.
    Raises `FetchExpired`, `FetchRefused` or `FetchInterrupted`; an `OSError` is the local disk's.
    """
    try:
        with (
            contextlib.closing(new_session(1)) as session,
            deadline(within.total_s),
            _open(session, url, within.timeouts_s) as response,
        ):
            _check_status(response.status_code)
            return _save(response, part_path, max_bytes)
    except BaseException as error:
        part_path.unlink(missing_ok=True)
        if isinstance(error, FetchError):
            error.__context__ = None  # the library's own error: its text has the URL
        raise


def _open(session: requests.Session, url: str, timeouts_s: tuple[float, float]) -> requests.Response:
    """The response at the end of the redirects, its body not yet read."""
    allowed = {"https"} if _scheme(url) == "https" else {"http", "https"}
    for _ in range(MAX_REDIRECTS + 1):
        if _scheme(url) not in allowed:
            raise FetchRefused("the address is not http(s), or leaves https")
        try:
            response = session.get(url, headers=_HEADERS, timeout=timeouts_s, allow_redirects=False, stream=True)
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
        raise FetchExpired(reason, status)
    if status in _BUSY_4XX or status >= 500:
        raise FetchInterrupted(reason, status)
    raise FetchRefused(reason, status)


def _save(response: requests.Response, part_path: Path, max_bytes: int) -> Fetched:
    declared = response.headers.get("Content-Length", "")
    if declared.isdigit() and len(declared) < 20 and int(declared) > max_bytes:
        raise FetchRefused(f"{declared} bytes, more than the {max_bytes} allowed")
    content_type = response.headers.get("Content-Type")
    digest, size_bytes, head = hashlib.sha256(), 0, b""
    with part_path.open("wb", buffering=_CHUNK_BYTES) as file:
        while chunk := _next_chunk(response):
            size_bytes += len(chunk)
            if size_bytes > max_bytes:
                raise FetchRefused(f"more than the {max_bytes} bytes allowed")
            if len(head) < HEAD_BYTES:
                head = (head + chunk)[:HEAD_BYTES]
            digest.update(chunk)
            file.write(chunk)
    if size_bytes == 0:
        raise FetchInterrupted("no bytes came")
    if is_web_page(content_type, head):
        raise FetchRefused("a web page, not a file")
    return Fetched(size_bytes, digest.hexdigest(), content_type)


def _next_chunk(response: requests.Response) -> bytes:
    """What has come, up to a chunk; empty at the end. A body shorter than declared is an error of urllib3's."""
    try:
        chunk: bytes = response.raw.read1(_CHUNK_BYTES, decode_content=True)
    except TRANSPORT_ERRORS as error:
        raise FetchInterrupted(type(error).__name__) from None
    return chunk


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
