"""The table of what was seen, as text for a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tests.watch.watching import Seen

_HEAD: Final = (
    "| alert | how it was caused | takes at least, as it stands | fired, as it stands | shortened by | "
    "fired, shortened | gone after mending began |"
)


def table(seen: Sequence[Seen]) -> str:
    """A row an alert."""
    rows = [_row(each) for each in seen]
    return "\n".join([_HEAD, "|---|---|---|---|---|---|---|", *rows])


def _row(seen: Seen) -> str:
    rule = seen.rule
    shown = (
        f"`{rule.name}`",
        seen.how + (f" (**{seen.trouble}**)" if seen.trouble else ""),
        duration(rule.takes_s),
        _after(seen.stands_s),
        "-" if seen.factor == 1 else f"{seen.factor:,.0f}",
        _after(seen.short_s),
        _after(seen.gone_s),
    )
    return f"| {' | '.join(shown)} |"


def with_table(page: str, shown: str) -> str:
    """A page with this table in the place of the one that it has, or at its end."""
    lines = page.splitlines()
    places = [number for number, line in enumerate(lines) if line.startswith("|")]
    first, after = (places[0], places[-1] + 1) if places else (len(lines), len(lines))
    return "\n".join([*lines[:first], shown, *lines[after:]]) + "\n"


def duration(whole_s: float) -> str:
    """A duration of a rule: `1m 30s`."""
    left, parts = round(whole_s), []
    for unit, length_s in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        number, left = divmod(left, length_s)
        if number:
            parts.append(f"{number}{unit}")
    return " ".join(parts) or "at once"


def _after(taken_s: float | None) -> str:
    return "-" if taken_s is None else f"{taken_s:.0f} s"
