"""Writes figures for people: money, times, instants in UTC. Refuses to round money."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from schemas.jobs import State

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400

TITLES: Final = {
    State.QUEUED: "It waits for its turn. Nothing was sent, so to cancel it is free.",
    State.ADMITTED: "It has its slot, and is about to be sent.",
    State.CREATING: "It is being sent to the provider.",
    State.UNCERTAIN: "The provider did not say whether it has it. Unasked it is not sent again: that can cost twice.",
    State.GENERATING: "The provider works on it.",
    State.DOWNLOADING: "The provider is done; the film is being fetched.",
    State.RECORDING: "The film is stored; its cost is being recorded.",
    State.COMPLETED: "The film is there.",
    State.FAILED: "It failed.",
    State.CANCELLED: "Nobody wants it any more.",
}
"""What each state means to whoever waits for the film."""


def usd(amount: Decimal) -> str:
    """`$1,234.50`: all digits that there are, two at least."""
    whole, _, digits = f"{amount.copy_abs():,f}".partition(".")
    sign = "-" if amount < 0 else ""
    return f"{sign}${whole}.{digits.rstrip('0').ljust(2, '0')}"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `2 h 03 min`, `4 d 01 h`."""
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S:02} s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S:02} h"


def instant(at: datetime) -> str:
    """`2026-11-27 13:21:15 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def size(count_bytes: int) -> str:
    """`812 B`, `1.4 MB`."""
    amount, units = float(count_bytes), ["B", "kB", "MB", "GB", "TB"]
    while amount >= 999.5 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.0f} B" if units[0] == "B" else f"{amount:.1f} {units[0]}"
