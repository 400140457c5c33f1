"""Sends stored outputs: whole, or those bytes that were asked for (`Range`)."""

from __future__ import annotations

from typing import Final

from flask import Response, send_file

from tasks.context import Context
from tasks.ledger.resources import JobResource
from workers.gateway.problems import Trouble

_TYPES: Final = {"mp4": "video/mp4", "jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}
_KEPT_S: Final = 3600


def output_file(ctx: Context, job: JobResource | None, index: int) -> Response:
    """The file of a job's output. Raises `Trouble` (404)."""
    output = next((each for each in (() if job is None else job.view.outputs) if each.index == index), None)
    if job is None or output is None:
        raise Trouble(404, "not_found", "There is no such output (yet): a completed job lists its own.")
    extension = output.path.rpartition(".")[2]
    try:
        sent = send_file(
            ctx.store.path(output.path),
            mimetype=_TYPES.get(extension, "application/octet-stream"),
            download_name=f"{job.id}-{index}.{extension}",
            conditional=True,
            etag=output.sha256,
            max_age=_KEPT_S,
        )
    except FileNotFoundError:
        raise Trouble(404, "not_found", "The file is not kept any more.") from None
    sent.headers["Cache-Control"] = f"private, max-age={_KEPT_S}"
    sent.headers["X-Content-Type-Options"] = "nosniff"
    return sent
