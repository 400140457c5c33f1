"""Hands out stored outputs: whole or those bytes that were asked for (`Range`); of an object store, its signed URL.

The URL goes to whoever may have the film, and nowhere else.
"""

from __future__ import annotations

from typing import Any, Final

from flask import Response, request, send_file

from tasks.context import Context
from tasks.ledger.resources import JobResource
from tasks.media.sniff import MEDIA_TYPES
from tasks.media.store import SignedUrl
from workers.gateway.problems import Trouble

MOVED: Final = "It is in an object store, whose address opens it for a few minutes, without a key."
LOCATED: Final[dict[str, Any]] = {"Location": {"schema": {"type": "string"}, "description": "Where the file is."}}
"""Of a redirect, in the document."""
_KEPT_S: Final = 3600


def output_file(ctx: Context, job: JobResource | None, index: int) -> Response:
    """The file of a job's output, or a redirect to it. Raises `Trouble` (404)."""
    output = next((each for each in (() if job is None else job.view.outputs) if each.index == index), None)
    if job is None or output is None:
        raise Trouble(404, "not_found", "There is no such output (yet): a completed job lists its own.")
    if not output.kept:
        raise _gone()
    extension = output.path.rpartition(".")[2]
    try:
        # A signature holds for one method.
        place = ctx.store.handed_out(output.path, "HEAD" if request.method == "HEAD" else "GET")
        if isinstance(place, SignedUrl):
            return Response(status=307, headers={"Location": place.url, "Cache-Control": "no-store"})
        sent = send_file(
            place,
            mimetype=MEDIA_TYPES.get(extension, "application/octet-stream"),
            download_name=f"{job.id}-{index}.{extension}",
            conditional=True,
            etag=output.sha256,
            max_age=_KEPT_S,
        )
    except FileNotFoundError:
        raise _gone() from None
    sent.headers["Cache-Control"] = f"private, max-age={_KEPT_S}"
    sent.headers["X-Content-Type-Options"] = "nosniff"
    return sent


def _gone() -> Trouble:
    return Trouble(404, "not_found", "The file is not kept any more.")
