"""What may still be spent: budgets by day and month, for a tenant or for all. Pure; refuses SQL and clocks.

What is used of a budget is what was charged in its period, and what is held for all jobs that are under way, whenever
they began. A job's charge takes the place of its hold, so what is used never exceeds a limit that stood when the jobs
were admitted, as long as no job costs more than was held for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

EVERYONE: Final = ""
"""In the place of a tenant: all of them together."""


class Period(StrEnum):
    """How often a budget begins anew: at midnight, UTC."""

    DAY = "day"
    MONTH = "month"

    def first_day(self, today: date) -> date:
        """The day on which the period that `today` lies in began."""
        return today if self is Period.DAY else today.replace(day=1)


class WhenUsedUp(StrEnum):
    """What becomes of a job for which there is nothing left."""

    WAIT = "wait"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit that a person has set, and what is used of it now, holds included. `tenant` may be `EVERYONE`."""

    tenant: str
    period: Period
    limit_usd: Decimal
    when_used_up: WhenUsedUp
    used_usd: Decimal = Decimal(0)

    @property
    def name(self) -> str:
        """The budget in words, for sentences to its owner."""
        whose = "all tenants" if self.tenant == EVERYONE else f"tenant {self.tenant}"
        return f"the budget of {whose} a {self.period}"


@dataclass(frozen=True, slots=True)
class Waits:
    """There is nothing left for now."""

    budget: Budget


@dataclass(frozen=True, slots=True)
class Refused:
    """There is nothing left, and the job is not to wait; or it could never be paid from this budget."""

    budget: Budget
    reason: str


class Purse:
    """What is left of each budget while one round of turns is given.

    `in_doubt_usd`, by tenant: of what is used, what is held for jobs that may have been created since the ledger was
    copied. It may come back: a job for which there is enough but for that waits, whatever the budget says.
    """

    def __init__(self, budgets: Iterable[Budget], in_doubt_usd: Mapping[str, Decimal] | None = None) -> None:
        self._in_doubt_usd = dict(in_doubt_usd or {})
        self._of: dict[str, list[Budget]] = {}
        self._left: dict[tuple[str, Period], Decimal] = {}
        for budget in budgets:
            self._of.setdefault(budget.tenant, []).append(budget)
            self._left[budget.tenant, budget.period] = budget.limit_usd - budget.used_usd

    def judge(self, tenant: str, cost_usd: Decimal) -> Waits | Refused | None:
        """What stands in the way of spending so much for a tenant; `None`: nothing does."""
        waits = None
        for budget in self._budgets(tenant):
            if cost_usd > budget.limit_usd:
                return Refused(budget, f"it may cost {cost_usd} USD, and {budget.name} is {budget.limit_usd} USD")
            if cost_usd > self._left[budget.tenant, budget.period]:
                may_be_left_usd = self._left[budget.tenant, budget.period] + self._in_doubt_of(budget.tenant)
                if budget.when_used_up is WhenUsedUp.REFUSE and cost_usd > may_be_left_usd:
                    return Refused(budget, f"{budget.name} ({budget.limit_usd} USD) is used up")
                waits = waits or Waits(budget)
        return waits

    def hold(self, tenant: str, cost_usd: Decimal) -> None:
        """Take so much from every budget that it counts against."""
        for budget in self._budgets(tenant):
            self._left[budget.tenant, budget.period] -= cost_usd

    def _in_doubt_of(self, tenant: str) -> Decimal:
        if tenant == EVERYONE:
            return sum(self._in_doubt_usd.values(), Decimal(0))
        return self._in_doubt_usd.get(tenant, Decimal(0))

    def _budgets(self, tenant: str) -> list[Budget]:
        return [*self._of.get(EVERYONE, ()), *self._of.get(tenant, ())]
