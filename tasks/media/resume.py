"""How a transfer is taken up where it broke off. Refuses to join parts that may not be of the same file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

import requests

_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")


@dataclass(frozen=True, slots=True)
class Whole:
    """What a server said of a file when it began to send it: its size, its version, its media type."""

    size_bytes: int | None
    etag: str | None
    last_modified: str | None
    content_type: str | None

    @classmethod
    def of(cls, response: requests.Response) -> Self:
        """Read from a response with the file's first byte; without size and version where its bytes are encoded."""
        headers = response.headers
        content_type = headers.get("Content-Type")
        if not _is_plain(response):
            return cls(None, None, None, content_type)
        if headers.get("Accept-Ranges", "").strip().lower() == "none":
            return cls(declared_bytes(response), None, None, content_type)
        etag = headers.get("ETag", "")
        # A weak one says that two files mean the same, not that their bytes are.
        strong = etag if re.fullmatch(r'"[!#-~]*"', etag) else None
        return cls(declared_bytes(response), strong, headers.get("Last-Modified"), content_type)

    def range_from(self, start_bytes: int) -> dict[str, str] | None:
        """The headers that ask for the rest of this version and no other; `None` if there is no way to."""
        version = self.etag or self.last_modified
        if not version or not start_bytes:
            return None
        return {"Range": f"bytes={start_bytes}-", "If-Range": version}

    def rest_in(self, response: requests.Response, start_bytes: int) -> int | None:
        """How many bytes of this file the response goes on with at `start_bytes`; `None` if it does something else."""
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        if response.status_code != 206 or match is None or not _is_plain(response):
            return None
        start, last = int(match[1]), int(match[2])
        same_size = match[3] == "*" or self.size_bytes is None or int(match[3]) == self.size_bytes
        same_version = self.etag is None or response.headers.get("ETag", self.etag) == self.etag
        return last - start + 1 if start == start_bytes <= last and same_size and same_version else None


def declared_bytes(response: requests.Response) -> int | None:
    """The length of the body by its header."""
    declared: str = response.headers.get("Content-Length", "")
    return int(declared) if re.fullmatch(r"[0-9]{1,19}", declared) else None


def _is_plain(response: requests.Response) -> bool:
    return response.headers.get("Content-Encoding", "identity").strip().lower() in {"", "identity"}
