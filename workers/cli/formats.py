"""How figures look to people: money, sizes, durations, instants, ids. Pure; owns no layout."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from schemas.jobs import Output

if TYPE_CHECKING:
    from tasks.domain.pauses import Pause
    from tasks.ledger.standings import KeyStanding

SHORT_ID_CHARS: Final = 8
_KIB: Final = 1024


def usd(amount: Decimal | None) -> str:
    """Dollars with two decimals, and more only where the amount has them: `$1.40`, `$0.0125`; `-` for `None`."""
    if amount is None:
        return "-"
    digits = f"{amount:f}"
    whole, _, fraction = digits.partition(".")
    return f"${whole}.{fraction.rstrip('0').ljust(2, '0')}"


def size(size_bytes: int) -> str:
    """Bytes in the largest unit that leaves a number of at least 1: `512 B`, `1.4 MiB`."""
    if size_bytes < _KIB:
        return f"{size_bytes} B"
    number = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        number /= _KIB
        if number < _KIB:
            return f"{number:.1f} {unit}"
    return f"{number / _KIB:.1f} TiB"


def duration(seconds: float) -> str:
    """Time that has passed: `4 s`, `2:05`, `1:00:09`. Less than nothing counts as nothing."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02}"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def instant(at: datetime | None) -> str:
    """An aware instant to the second, in UTC: `2026-11-22 15:04:05Z`; `-` for `None`."""
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def pause_line(pause: Pause) -> str:
    """`tenant film: paused since 2026-11-27 09:00:00Z by ops@host, until 2026-11-27 11:00:00Z: why`."""
    line = f"{pause.of}: paused"
    if pause.at is not None:
        line += f" since {instant(pause.at)}"
    if pause.by:
        line += f" by {pause.by}"
    if pause.until is not None:
        line += f", until {instant(pause.until)}"
    return f"{line}: {pause.reason}" if pause.reason else line


def key_state(key: KeyStanding) -> str:
    """Whether a key takes tasks, and if not, why: `closed since ... by ops@host: why`."""
    if key.closed is not None:
        return f"closed{pause_line(key.closed).partition(': paused')[2]}"
    if key.paused:
        return f"paused until {instant(key.key.paused_until)}: {key.key.pause_reason}"
    if key.key.refusals:
        return "on trial: one create at a time until one is accepted"
    return "takes tasks" if key.configured else "not configured here"


def short(job_id: str) -> str:
    """Enough of a job's id to tell jobs apart by eye; verbs that take an id take this as well."""
    return job_id[:SHORT_ID_CHARS]


def frame(output: Output) -> str:
    """An output's frame in pixels: `1366x768`; `-` where it has none."""
    return f"{output.width}x{output.height}" if output.width and output.height else "-"


def film_length(output: Output) -> str:
    """An output's duration: `6 s`, `5.96 s`; `-` where it has none."""
    return "-" if output.duration_s is None else f"{round(output.duration_s, 2):g} s"
