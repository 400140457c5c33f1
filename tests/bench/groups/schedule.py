"""What the poll schedule is worth against fixed 5 s, simulated on several laws of latency (`tests.bench.polling`)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

from tests.bench import polling
from tests.bench.figures import Finding, Measured, Row, Unmeasured, at_most
from tests.bench.group import Group, Place
from tests.bench.polling import LAWS, Provider

_AGAINST = "fixed 5 s, simulated; middle of the laws of latency"
_ROWS = (
    Row("polls_at_equal_lag", "times", at_most(0.5), _AGAINST),
    Row("lag_at_equal_polls", "times", at_most(0.5), _AGAINST),
)
_SEED = 7
_TOLD = Provider(progress=True, stamps=True)
"""What this provider tells of a task."""


def _measure(place: Place) -> Mapping[str, Finding]:
    jobs = place.scale.pick(500, 200)
    told = [polling.measure(law, _TOLD, jobs, _SEED) for law in LAWS]
    untold = [polling.measure(law, Provider(), jobs, _SEED) for law in LAWS]
    shares: dict[str, Callable[[polling.Row], float]] = {
        "polls_at_equal_lag": lambda row: row.at_equal_lag,
        "lag_at_equal_polls": lambda row: row.at_equal_polls,
    }
    return {name: _finding(told, untold, share) for name, share in shares.items()}


def _finding(
    told: Sequence[polling.Row], untold: Sequence[polling.Row], share: Callable[[polling.Row], float]
) -> Finding:
    """The middle of the laws. A law under which no interval reaches what fixed 5 s does has no share, and is named."""
    reached = [share(row) for row in told if math.isfinite(share(row))]
    if not reached:
        return Unmeasured("under no law was fixed 5 s reached")
    note = f"by law: {_by_law(told, share)}; told no progress and no times: {_by_law(untold, share)}"
    return Measured([statistics.median(reached)], note)


def _by_law(rows: Sequence[polling.Row], share: Callable[[polling.Row], float]) -> str:
    return ", ".join(f"{row.law} {_shown(share(row))}" for row in rows)


def _shown(share: float) -> str:
    return f"{share:.2f}" if math.isfinite(share) else "NOT REACHED"


GROUP = Group("schedule", _ROWS, _measure)
