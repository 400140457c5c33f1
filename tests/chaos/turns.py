"""The reckoning of admission: slots by the provider's own count, a budget by the charges, and how long tenants waited.

Pure: the books were read before (`tests.chaos.books`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from schemas.jobs import State
from tasks.domain.transitions import Event
from tests.chaos.account import Breach
from tests.chaos.books import Books
from tests.chaos.orders import BIG, SMALL, THRIFTY


@dataclass(frozen=True, slots=True)
class Turns:
    """What admission made of a run. `waits_s`: by tenant, from accepted to first admitted, sorted."""

    most_open: int
    slots: int
    spent_usd: Decimal
    allowed_usd: Decimal | None
    """What the thrifty tenant might spend; `None`: without limit."""
    refused: int
    waits_s: dict[str, list[float]]

    def breaches(self) -> Iterator[Breach]:
        """Limits that were passed."""
        if self.most_open > self.slots:
            yield Breach(
                "slots", "", f"a key had {self.most_open} tasks open at the provider, {self.slots} are allowed"
            )
        if self.allowed_usd is not None and self.spent_usd > self.allowed_usd:
            yield Breach("budget", "", f"{self.spent_usd} USD were spent, {self.allowed_usd} USD are allowed")

    def line(self) -> str:
        waits = ", ".join(
            f"{tenant} {_share(waits, 0.5):.1f}/{_share(waits, 0.95):.1f}"
            for tenant in (SMALL, BIG)
            if (waits := self.waits_s.get(tenant))
        )
        budget = "none" if self.allowed_usd is None else f"{self.spent_usd} of {self.allowed_usd} USD"
        return (
            f"turns: most_open={self.most_open} of {self.slots} a key; budget of {THRIFTY}: {budget}, "
            f"{self.refused} refused; waits p50/p95 s: {waits or 'nobody waited'}"
        )


def turns(books: Books, *, slots: int, allowed_usd: Decimal | None) -> Turns:
    """What admission made of the jobs in the books."""
    waits: dict[str, list[float]] = {}
    refused = 0
    for job_id, order in books.orders.items():
        moments = books.rows[job_id].moments if job_id in books.rows else ()
        refused += any(moment.event == Event.REFUSE for moment in moments)
        admitted = next((moment for moment in moments if moment.state is State.ADMITTED), None)
        if admitted is not None:
            waits.setdefault(order.tenant, []).append((admitted.at - moments[0].at).total_seconds())
    thrifty = {job_id for job_id, order in books.asked.items() if order.tenant == THRIFTY}
    spent = [usd for task, usd in books.charged_usd.items() if books.owner[task] in thrifty]
    return Turns(
        most_open=books.most_open,
        slots=slots,
        spent_usd=sum(spent, Decimal(0)),
        allowed_usd=allowed_usd,
        refused=refused,
        waits_s={tenant: sorted(each) for tenant, each in waits.items()},
    )


def _share(ordered: Sequence[float], share: float) -> float:
    return ordered[math.ceil(len(ordered) * share) - 1]
