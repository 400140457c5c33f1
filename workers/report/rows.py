"""The table of a report: one row a job, for those who reckon further. The README says what its columns are."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import IO, Any, Final

from schemas.jobs import TERMINAL
from tasks.ledger.facts import JobFacts
from workers.showing.shapes import Phase, lasted, spans

COLUMNS: Final = (
    *("job", "tenant", "model", "resolution", "ordered_s", "state", "accepted_at", "ended_at"),
    *("waiting_s", "generating_s", "in_doubt_s", "downloading_s", "create_calls", "error_stage", "error_code"),
    *("delivered_s", "charged_usd", "charged_in_span_usd", "estimated"),
)
_SPREADSHEET_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Rows:
    """Writes rows as jobs come. A job that is not kept any more has what its charge says of it, and no state."""

    def __init__(self, file: IO[str], now: datetime) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._now = now
        self._writer.writerow(COLUMNS)

    def write(self, jobs: Iterable[JobFacts]) -> None:
        """Write a row of each."""
        self._writer.writerows([_cell(value) for value in self._row(job)] for job in jobs)

    def _row(self, job: JobFacts) -> tuple[Any, ...]:
        ended = job.state in TERMINAL
        times = lasted(spans(job.moments, self._now))
        kept = job.state is not None
        return (
            *(job.id, job.tenant, job.model, job.resolution, job.duration_s, job.state, job.accepted_at),
            job.changed_at if ended else None,
            *(times.get(phase) for phase in (Phase.WAITING, Phase.GENERATING, Phase.DOUBT, Phase.DOWNLOADING)),
            len(job.outcomes) if kept else None,
            *(job.error_stage, job.error_code),
            job.delivered_s if kept else None,
            *(job.charged.usd, job.charged.in_span_usd),
            "yes" if job.charged.estimated else "no",
        )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    # What others wrote is text to a spreadsheet as well.
    return f"'{text}" if text.startswith(_SPREADSHEET_FORMULA) else text
