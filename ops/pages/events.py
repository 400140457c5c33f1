"""The tables of ops/events.md: what the code logs, joined with what each event means. Knows neither by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from ops.pages.logcalls import Call, Unreadable
from ops.pages.meanings import Meaning

_ORDER: Final = ("debug", "info", "warning", "error", "critical")
_TROUBLE: Final = frozenset({"warning", "error", "critical"})
_HEAD: Final = ("| event | level | fields | means | do | from |", "|---|---|---|---|---|---|")


def troubles(calls: Sequence[Call], meanings: Mapping[str, Meaning]) -> str:
    """The table of events that are ever logged as a warning or worse. Raises `Unreadable` for one without a meaning."""
    return _table(calls, meanings, is_trouble=True)


def course(calls: Sequence[Call], meanings: Mapping[str, Meaning]) -> str:
    """The table of the other ones. Raises `Unreadable` likewise."""
    return _table(calls, meanings, is_trouble=False)


def _table(calls: Sequence[Call], meanings: Mapping[str, Meaning], *, is_trouble: bool) -> str:
    by_event: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        by_event[call.event].append(call)
    unsaid = sorted(by_event.keys() - meanings.keys())
    if unsaid:
        raise Unreadable(f"say in ops/pages/meanings.py what this means: {', '.join(unsaid)}")
    rows = [
        _row(event, by_event[event], meanings[event])
        for event in sorted(by_event)
        if bool(_TROUBLE & {call.level for call in by_event[event]}) is is_trouble
    ]
    return "\n".join([*_HEAD, *rows])


def _row(event: str, calls: Sequence[Call], meaning: Meaning) -> str:
    levels = sorted({call.level for call in calls}, key=_ORDER.index)
    files = dict.fromkeys(f"[{call.file}](../{call.file})" for call in calls)
    do = " ".join(filter(None, [meaning.do, meaning.page and f"[{meaning.page}](runbooks/{meaning.page}.md)"]))
    cells = [f"`{event}`", ", ".join(levels), ", ".join(_fields(calls)), meaning.says, do, ", ".join(files)]
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def _fields(calls: Sequence[Call]) -> list[str]:
    """Those of any of its places, in their order; with a question mark where not all of these have it."""
    sets = [(*call.fields, *(["exception"] if call.has_traceback else [])) for call in calls]
    return [
        f"`{field}`{'' if all(field in each for each in sets) else '?'}"
        for field in dict.fromkeys(field for each in sets for field in each)
    ]
