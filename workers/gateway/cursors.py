"""Names the next page of a list whose rows are ordered by an instant and an id, the latest first."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

from schemas.errors import Problem, RequestInvalid


def cursor_at(at: datetime, row_id: str) -> str:
    """What names the page after this row."""
    return base64.urlsafe_b64encode(f"{at.isoformat()} {row_id}".encode()).decode().rstrip("=")


def place_of(cursor: str | None) -> tuple[datetime, str] | None:
    """The row that a cursor stands for. Raises `RequestInvalid` for what is none."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars="-_", validate=True).decode()
        at, _, row_id = text.partition(" ")
        instant = datetime.fromisoformat(at)
    except (ValueError, binascii.Error):
        instant, row_id = None, ""
    if instant is None or instant.tzinfo is None or not row_id:
        raise RequestInvalid([Problem("cursor", "bad_format", "must be the next_cursor of a page")])
    return instant, row_id
