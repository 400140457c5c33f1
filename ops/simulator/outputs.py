"""Serves output files: whole, in ranges, and bent by faults.

Owns ranges and the moment at which a delivery goes on the bill: before the last piece leaves, so that a client which
holds the whole file finds it there. Refuses links that are wrong or expired.
"""

from __future__ import annotations

import re
from typing import Final

from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError

from .exchange import Reply, connection_of, json_reply, send, write_head
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
    fault = task.plan.output.fault
    if fault and task.output_faults < task.plan.output.fault_times:
        task.output_faults += 1
        provider.counts[f"fault.{fault}"] += 1
        whole = Reply(200, files[index].path.read_bytes(), files[index].content_type)
        await send(request, FAULTS[fault].bend(whole))
        return
    try:
        await _send_file(provider, request, task, index, files[index])
    except StreamClosedError:
        provider.counts["downloads_broken_off"] += 1


async def _send_file(provider: Provider, request: HTTPServerRequest, task: Task, index: int, file: OutputFile) -> None:
    size_bytes = file.path.stat().st_size
    headers = {"Accept-Ranges": "bytes"}
    span = _span(request.headers.get("Range"), size_bytes)
    if span is None:
        await send(request, json_reply(416, {"message": "InvalidRange"}, {"Content-Range": f"bytes */{size_bytes}"}))
        return
    start, stop = span
    status = 200
    if request.headers.get("Range") and stop - start < size_bytes:
        status, headers["Content-Range"] = 206, f"bytes {start}-{stop - 1}/{size_bytes}"
    connection = connection_of(request)
    write_head(request, Reply(status, b"", file.content_type, headers), stop - start)
    if request.method != "HEAD":
        with file.path.open("rb") as source:
            source.seek(start)
            left = stop - start
            while left:
                piece = source.read(min(PIECE_BYTES, left))
                left -= len(piece)
                if left == 0 and stop - start == size_bytes:
                    await provider.bill.delivery(task.id, index, size_bytes)
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
