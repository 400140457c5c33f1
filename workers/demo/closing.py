"""What a demo has come to: the table of its films, the sums, and the last line. Pure but for printing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from schemas.jobs import State
from workers.cli.board import Standing
from workers.cli.common import table
from workers.cli.formats import film_length, frame, short, size, usd


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a demo ended. `billed_usd` is the provider's own sum, `None` where it can't be known (`simulated` is false)
    or could not be read; `gave_up` says why it did not wait for all jobs."""

    standings: tuple[Standing, ...]
    charged_usd: Decimal
    billed_usd: Decimal | None
    simulated: bool
    store: Path
    gave_up: str | None = None

    @property
    def completed(self) -> int:
        """How many jobs have their film."""
        return sum(each.state is State.COMPLETED for each in self.standings)

    @property
    def failed(self) -> int:
        """All that did not complete."""
        return len(self.standings) - self.completed

    @property
    def well(self) -> bool:
        """Every job completed, and the provider's sum, where it can be known, is ours."""
        agreed = self.billed_usd == self.charged_usd if self.simulated else True
        return self.failed == 0 and agreed

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `demo --json` prints them."""
        return {
            "completed": self.completed,
            "failed": self.failed,
            "charged_usd": self.charged_usd,
            "billed_usd": self.billed_usd,
            "store": self.store,
            "gave_up": self.gave_up,
            "jobs": [each.as_json() for each in self.standings],
        }


def films_table(standings: Sequence[Standing]) -> Table:
    """A row an output, and a row for each job that has none: with its error in place of the file."""
    made = table("job", "state", "file", "frame", "duration", "bytes", "charged", right=("bytes", "charged"))
    for each in standings:
        state = each.state.value if each.state else "not accepted"
        charged = usd(each.charged_usd)
        if not each.outputs:
            error = f"{each.error_message or ''} [{each.error_code}]" if each.error_code else "-"
            made.add_row(short(each.job_id), state, escape(error), "-", "-", "-", charged)
        for output in each.outputs:
            cells = (short(each.job_id), state, escape(output.path), frame(output), film_length(output))
            made.add_row(*cells, f"{output.size_bytes:,}", charged)
            charged = ""
            if output.mismatch:
                made.add_row("", "", f"not as asked for: {escape(output.mismatch)}")
    return made


def total_line(outcome: Outcome) -> str:
    """The sum of the table."""
    size_bytes = sum(output.size_bytes for each in outcome.standings for output in each.outputs)
    films = sum(len(each.outputs) for each in outcome.standings)
    files = "1 file" if films == 1 else f"{films} files"
    return f"total {usd(outcome.charged_usd)}: {files}, {size(size_bytes)}, in {shown_path(outcome.store)}"


def last_line(outcome: Outcome) -> str:
    """`demo: 3 completed, 0 failed, charged $0.84, provider billed $0.84`"""
    if outcome.billed_usd is not None:
        billed = usd(outcome.billed_usd)
    else:
        billed = "unknown (its bill could not be read)" if outcome.simulated else "unknown (see your account)"
    counts = f"{outcome.completed} completed, {outcome.failed} failed"
    return f"demo: {counts}, charged {usd(outcome.charged_usd)}, provider billed {billed}"


def shown_path(path: Path) -> str:
    """Relative to the working folder where that is shorter: something to click on or to paste."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
