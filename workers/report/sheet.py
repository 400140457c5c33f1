"""The contact sheet: a still of each of the latest films, in the page itself. Refuses to let a film, or the sum of
them, make the page too large to be sent on.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from schemas.jobs import Output
from tasks.ledger.facts import JobFacts
from tasks.media.errors import NotPlayable, StoreAway
from tasks.media.still import still
from tasks.media.store import Store

WIDTH_PX: Final = 240
STILL_BYTES_MOST: Final = 32_768
SHEET_BYTES_MOST: Final = 6_000_000
"""All stills together: what mail still takes. Later films, whose turn comes first, have them."""
_FILM_BYTES_MOST: Final = 512 * 1024 * 1024
"""A bucket's film is fetched whole."""

_NOT_KEPT: Final = "not kept any more"
_GONE: Final = "its file is missing"
_UNREADABLE: Final = "no frame can be shown"
_AWAY: Final = "the store can't be read"
_NO_ROOM: Final = "left out: the sheet is full"


@dataclass(frozen=True, slots=True)
class Still:
    """A film on the sheet. `data_url`: its JPEG; without one `why` says what there is instead."""

    job: JobFacts
    data_url: str | None
    why: str = ""


def sheet(store: Store, films: Iterable[JobFacts]) -> list[Still]:
    """A still of the first output of each of these jobs, in their order."""
    found, left_bytes = [], SHEET_BYTES_MOST
    for job in films:
        made = _made(store, job.outputs[0]) if left_bytes >= STILL_BYTES_MOST else _NO_ROOM
        if isinstance(made, bytes):
            left_bytes -= len(made)
            found.append(Still(job, f"data:image/jpeg;base64,{base64.b64encode(made).decode('ascii')}"))
        else:
            found.append(Still(job, None, made))
    return found


def _made(store: Store, output: Output) -> bytes | str:
    """The JPEG, or why there is none."""
    if not output.kept:
        return _NOT_KEPT
    if output.size_bytes > _FILM_BYTES_MOST:
        return _UNREADABLE
    try:
        with store.open(output.path) as file:
            return still(file, output.type, WIDTH_PX, STILL_BYTES_MOST)
    except FileNotFoundError:
        return _GONE
    except NotPlayable:
        return _UNREADABLE
    except (StoreAway, OSError):
        return _AWAY
