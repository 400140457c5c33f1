"""What goes with every answer of the reel: nothing is loaded from elsewhere, framed, or kept, and no script stands in a
page. Where films are in a bucket, players may fetch them from there, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from flask import Response, g

from tasks.context import Context
from tasks.ledger.resources import JobResource
from tasks.media.store import SignedUrl

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'{films}; "
    "media-src 'self'{films}; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def allow_films(ctx: Context, jobs: Sequence[JobResource]) -> None:
    """Let this page's players follow the redirect to the bucket where these jobs' films are, if they are in one."""
    for output in (each for job in jobs for each in job.view.outputs):
        # A store that is away shows no films, and does not take the page with it.
        with suppress(OSError):
            place = ctx.store.handed_out(output.path)
            if isinstance(place, SignedUrl):
                parts = urlsplit(place.url)
                g.films = f" {parts.scheme}://{parts.netloc}"
            return


def guarded(answer: Response) -> Response:
    """The answer with its headers."""
    answer.headers["Content-Security-Policy"] = _POLICY.format(films=g.get("films", ""))
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["X-Frame-Options"] = "DENY"
    answer.headers["Referrer-Policy"] = "no-referrer"
    if answer.mimetype == "text/html":
        answer.headers["Cache-Control"] = "no-store"
    return answer
