"""Writes the parts of the pages that are made from the code: `python -m ops.pages`. A test holds them to it.

A page keeps what people wrote, and has each such part between two comments that name it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ops.pages import events, logcalls, states
from ops.pages.meanings import MEANINGS

OPS: Final = Path(__file__).parents[1]
ROOT: Final = OPS.parent


def parts() -> dict[str, dict[str, str]]:
    """Page -> name of a part -> its text. Raises `logcalls.Unreadable`."""
    calls = logcalls.calls(ROOT)
    return {
        "architecture.md": {"states": states.section()},
        "events.md": {"troubles": events.troubles(calls, MEANINGS), "course": events.course(calls, MEANINGS)},
    }


def renewed(page: str, made: dict[str, str]) -> str:
    """The text of a page with its parts as they are made now. Raises `ValueError` where it has no place for one."""
    for name, text in made.items():
        begin, end = f"<!-- {name}: made by python -m ops.pages -->", f"<!-- end of {name} -->"
        before, found_begin, rest = page.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found_begin and found_end):
            raise ValueError(f"the page has no part between {begin} and {end}")
        page = f"{before}{begin}\n{text}\n{end}{after}"
    return page


def main() -> None:
    """Write all of them anew."""
    for name, made in parts().items():
        file = OPS / name
        file.write_text(renewed(file.read_text(encoding="utf-8"), made), encoding="utf-8")


if __name__ == "__main__":
    main()
