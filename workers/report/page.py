"""The page of a report: everything that it shows, and how it becomes HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.domain.budgets import Budget
from tasks.domain.prices import MICRO_USD
from tasks.ledger.facts import Delivered, SpanOfTime
from tasks.ledger.reports import CostRow
from workers.report.figures import Outcome, Tally
from workers.report.sheet import Still
from workers.showing import FILTERS, TEMPLATES, shapes

_OWN: Final = Path(__file__).parent / "templates"
ROWS_MOST: Final = 50
"""So many models, tenants and keys are listed, the dearest; the sums are of all."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says. `costs`: as `costs` has them, by day, model, tenant, key and in total."""

    span: SpanOfTime
    made_at: datetime
    tally: Tally
    costs: Mapping[str, Sequence[CostRow]]
    budgets: Sequence[Budget]
    delivered: Delivered

    @property
    def total(self) -> CostRow:
        """All charges of the span."""
        return self.costs["total"][0]

    @property
    def second_usd(self) -> Decimal | None:
        """What a delivered second of film cost, with all that was spent in vain; `None` where none was delivered."""
        seconds = Decimal(str(round(self.delivered.seconds, 3)))
        return (self.delivered.charged_usd / seconds).quantize(MICRO_USD).normalize() if seconds else None

    def document(self) -> dict[str, Any]:
        """The figures, for `--json`."""
        tally = self.tally
        return {
            "since": self.span.since,
            "until": self.span.until,
            "tenant": self.span.tenant,
            "jobs": tally.jobs,
            "by_outcome": {each: tally.outcomes[each] for each in Outcome},
            "charges": self.total.charges,
            "total_usd": self.total.amount_usd,
            "estimated_usd": self.total.estimated_usd,
            "delivered_s": round(self.delivered.seconds, 3),
            "delivered_second_usd": self.second_usd,
            "times": tally.times(),
            "failures": [{"stage": stage, "code": code, "jobs": count} for stage, code, count in tally.reasons()],
            "create_calls": dict(tally.calls),
            "jobs_tried_again": tally.tried_again,
            "extra_create_calls": tally.extra_calls,
            "doubts": dict(tally.doubts),
        }


def pieces(report: Report, stills: Sequence[Still]) -> Iterator[str]:
    """The HTML of a report, piece by piece."""
    made = Environment(
        loader=FileSystemLoader([_OWN, TEMPLATES]), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    made.filters.update(FILTERS)
    first = report.span.since.date()
    last = max((report.span.until - timedelta(microseconds=1)).date(), first)
    days = {row.name: row.amount_usd for row in report.costs["day"]}
    named = {kind: shapes.shares(report.costs[kind][:ROWS_MOST]) for kind in ("model", "tenant", "key")}
    given = {
        "report": report,
        "tally": report.tally,
        "outcomes": list(Outcome),
        "job_days": shapes.stacks(report.tally.counts_by_day(), first, last),
        "counts": report.tally.counts_by_day(),
        "cost_days": shapes.columns(days, first, last),
        "charged_on": days,
        "named": named,
        "left_out": {kind: len(report.costs[kind]) - ROWS_MOST for kind in named},
        "stills": stills,
        "first": first,
        "last": last,
    }
    yield from made.get_template("report/page.html").generate(given)
