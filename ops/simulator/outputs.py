"""Serves output files: whole, in ranges, and bent by faults.

Owns ranges and the moment at which a delivery goes on the bill: before the last piece leaves, so that a client which
holds the whole file finds it there. Refuses links that are wrong or expired.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Final

from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError

from .exchange import Redirect, Reply, connection_of, json_reply, send, write_head
from .faults import FAULTS
from .provider import Provider
from .tasks import OutputFile, Task
from .validation import Refused

PIECE_BYTES: Final = 256 * 1024
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


async def serve(provider: Provider, request: HTTPServerRequest) -> None:
    """Answers `GET` or `HEAD /files/{task}/{name}`. Raises `Refused`."""
    task_id, _, name = request.path.removeprefix("/files/").partition("/")
    query = request.query_arguments
    expires, signature = (query.get(key, [b""])[0].decode("latin-1") for key in ("expires", "sig"))
    provider.links.check(request.path, expires, signature)
    task = provider.tasks.get(task_id)
    files = [] if task is None else [file for files in task.outputs for file in files]
    index = next((n for n, file in enumerate(files) if file.name == name), None)
    if task is None or index is None or not files[index].path.exists():
        raise Refused("NoSuchKey", status=404)
    provider.counts["downloads"] += 1
    part = _part(request, files[index], task.plan.output.ranges == "served")
    fault = task.next_output_fault() if request.method == "GET" else None
    if fault is not None:
        provider.counts[f"fault.{fault}"] += 1
        answer = FAULTS[fault].bend(part.reply(await asyncio.to_thread(part.read)))
        if isinstance(answer, Redirect) and task.plan.output.redirect_to:
            answer = replace(answer, location=task.plan.output.redirect_to)
        await send(request, answer)
        return
    try:
        await _send_file(provider, request, task, index, part)
    except StreamClosedError:
        provider.counts["downloads_broken_off"] += 1


@dataclass(frozen=True, slots=True)
class _Part:
    """What of a file an answer holds: the bytes from `start` up to `stop`."""

    file: OutputFile
    size_bytes: int
    status: int
    start: int
    stop: int
    headers: dict[str, str]

    @property
    def whole(self) -> bool:
        return self.stop - self.start == self.size_bytes

    def reply(self, body: bytes = b"") -> Reply:
        return Reply(self.status, body, self.file.content_type, self.headers)

    def read(self) -> bytes:
        with self.file.path.open("rb") as source:
            source.seek(self.start)
            return source.read(self.stop - self.start)


def _part(request: HTTPServerRequest, file: OutputFile, ranges: bool) -> _Part:
    """What a request is to get. A range of a file that has changed since is the whole of it (`If-Range`, RFC 9110)."""
    about = file.path.stat()
    size_bytes = about.st_size
    # A file is named by all that its film is made of, so that its name, kind and size tell one content from another.
    headers = {
        "ETag": f'"{file.path.stem[:32]}{file.path.suffix}-{size_bytes:x}"',
        "Last-Modified": formatdate(about.st_mtime, usegmt=True),
    }
    if not ranges:
        return _Part(file, size_bytes, 200, 0, size_bytes, headers)
    headers["Accept-Ranges"] = "bytes"
    asked, condition = request.headers.get("Range"), request.headers.get("If-Range")
    if condition is not None and condition.strip() not in (headers["ETag"], headers["Last-Modified"]):
        asked = None
    span = _span(asked, size_bytes)
    if span is None:
        return _Part(file, size_bytes, 416, 0, 0, {"Content-Range": f"bytes */{size_bytes}"})
    start, stop = span
    if stop - start == size_bytes:
        return _Part(file, size_bytes, 200, 0, size_bytes, headers)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size_bytes}"
    return _Part(file, size_bytes, 206, start, stop, headers)


async def _send_file(provider: Provider, request: HTTPServerRequest, task: Task, index: int, part: _Part) -> None:
    if part.status == 416:
        await send(request, json_reply(416, {"message": "InvalidRange"}, part.headers))
        return
    connection = connection_of(request)
    write_head(request, part.reply(), part.stop - part.start)
    if request.method != "HEAD":
        with part.file.path.open("rb") as source:
            source.seek(part.start)
            left = part.stop - part.start
            while left:
                piece = source.read(min(PIECE_BYTES, left))
                left -= len(piece)
                if left == 0 and part.whole:
                    await provider.bill.delivery(task.id, index, part.size_bytes)
                    provider.counts["deliveries"] += 1
                await connection.write(piece)
    connection.finish()


def _span(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """First byte and the one after the last that a `Range` header asks for; `None` when there are no such bytes."""
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or not (match[1] or match[2]):
        return 0, size_bytes  # no range, or one that a server may pass over
    if not match[1]:
        start, stop = max(0, size_bytes - int(match[2])), size_bytes
    else:
        start, stop = int(match[1]), min(size_bytes, int(match[2]) + 1) if match[2] else size_bytes
    return (start, stop) if start < stop else None
