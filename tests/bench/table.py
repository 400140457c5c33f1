"""How figures are shown: one table for people, one document for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.bench.figures import Figure, Measured, Unmeasured

_HEAD = ("figure", "value", "target", "met", "spread", "against")
_MET = {True: "yes", False: "NO", None: "-"}


def document(found: Sequence[Figure], machine: dict[str, Any]) -> dict[str, Any]:
    """What is written to a file. `noise`: the spread of the repeats, the middle one and the widest."""
    spreads = sorted(
        each.found.spread for each in found if isinstance(each.found, Measured) and each.found.spread is not None
    )
    noise = {"middle": round(spreads[len(spreads) // 2], 3), "widest": round(spreads[-1], 3)} if spreads else None
    return {"figures": {each.row.name: each.to_json() for each in found}, "machine": {**machine, "noise": noise}}


def table(found: Sequence[Figure]) -> str:
    """The figures as text, one a line, and below each what it was made of or why there is none."""
    lines = [_cells(each) for each in found]
    widths = [max(len(line[column]) for line in [_HEAD, *lines]) for column in range(len(_HEAD))]
    shown = [_line(_HEAD, widths), _line(["-" * width for width in widths], widths)]
    for figure, line in zip(found, lines, strict=True):
        shown.append(_line(line, widths))
        note = figure.found.reason if isinstance(figure.found, Unmeasured) else figure.found.note
        if note:
            shown.append(f"    {note}")
    return "\n".join(shown)


def _cells(figure: Figure) -> tuple[str, ...]:
    row, found = figure.row, figure.found
    if isinstance(found, Unmeasured):
        value, spread = "NOT MEASURED", "-"
    else:
        value = f"{found.value:.4g} {row.unit}"
        spread = "-" if found.spread is None else f"{found.spread:.0%}"
    return row.name, value, str(row.target), _MET[figure.met], spread, row.against


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
