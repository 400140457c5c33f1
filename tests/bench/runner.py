"""Runs groups one after the other, each in a folder of its own, and writes what they found."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from tests.bench import machine
from tests.bench.figures import Figure
from tests.bench.group import Group, Place, Scale
from tests.bench.table import document, table


def choose(groups: Sequence[Group], names: Collection[str]) -> frozenset[str]:
    """The figures that these names stand for: figures, or whole groups; no name: all. Raises ValueError."""
    known = {group.name: {row.name for row in group.rows} for group in groups}
    every = set().union(*known.values())
    chosen: set[str] = set()
    for name in names:
        if name not in known and name not in every:
            raise ValueError(f"there is no figure {name}: choose among {', '.join(sorted(every | known.keys()))}")
        chosen |= known.get(name, {name})
    return frozenset(chosen or every)


def run(
    groups: Sequence[Group],
    wanted: Collection[str],
    scale: Scale,
    to: Path,
    say: Callable[[str], None],
    show: Callable[[str], None],
) -> int:
    """Measure, print the table, write the file. The exit status: 1 when a figure could not be measured."""
    facts = machine.facts()
    began_at = time.monotonic()
    found: list[Figure] = []
    kept: dict[str, Any] = {}
    for group in groups:
        if not wanted & {row.name for row in group.rows}:
            continue
        say(f"{group.name} ...")
        folder = Path(tempfile.mkdtemp(prefix=f"reelworks-bench-{group.name}-"))
        try:
            found += group.run(Place(folder, scale, wanted, say, kept))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    facts |= {"quick": scale.quick, "took_s": round(time.monotonic() - began_at)}
    result = document(found, facts)
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(result, indent=1) + "\n")
    show(table(found))
    show(
        f"\n{facts['cores']} cores, {facts['cpu']}, Python {facts['python']}, load before {facts['load_before']}, "
        f"noise {result['machine']['noise']}, took {facts['took_s']} s; written to {to}"
    )
    return 1 if any(each.failed for each in found) else 0
