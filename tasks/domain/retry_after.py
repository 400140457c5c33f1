"""Reads how long a server asks to be left alone: the header `Retry-After`. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

MAX_RETRY_AFTER_S: Final = 3600.0
"""What is asked for is believed up to this."""


def retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds to wait by a `Retry-After` header (seconds or an HTTP date), from 0 to an hour; `None` if unreadable."""
    if header is None:
        return None
    text = header.strip()[:100]
    try:
        wait_s = float(text) if text[:1].isdigit() and "," not in text else _seconds_until(text, now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S) if math.isfinite(wait_s) else None


def _seconds_until(http_date: str, now: datetime) -> float:
    at = parsedate_to_datetime(http_date)
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
