"""What was spent and what may be: sums of charges a tenant and a day, and the budgets that they count against."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tasks.domain.budgets import EVERYONE, Budget, Period, WhenUsedUp

from .database import Transaction
from .tables import budgets, charges, spending

_SHAPE_CHARGES: Final = 20
"""So many charges of a shape say what the next one will cost."""
_SHAPE_DAYS: Final = 30
_LATEST: Final = (
    sa.select(charges.c.amount_usd)
    .where(
        charges.c.model == sa.bindparam("of_model"),
        charges.c.resolution == sa.bindparam("of_resolution"),
        charges.c.duration_s == sa.bindparam("of_duration_s"),
        sa.not_(charges.c.estimated),
        charges.c.charged_at > sa.bindparam("since"),
    )
    .order_by(charges.c.charged_at.desc())
    .limit(_SHAPE_CHARGES)
)


def latest_charges(tx: Transaction, model: str, resolution: str | None, duration_s: int | None) -> list[Decimal]:
    """What the latest films of a shape did cost, as the provider reported it in the last month."""
    shape = {"of_model": model, "of_resolution": resolution, "of_duration_s": duration_s}
    asked = {**shape, "since": tx.now - timedelta(days=_SHAPE_DAYS)}
    return list(tx.execute(_LATEST, asked).scalars())


def add(tx: Transaction, tenant: str, charged_at: datetime, amount_usd: Decimal) -> None:
    """Add to what a tenant has spent on the day of a charge (negative: take away). In the charge's own transaction.

    Of several charges in one transaction those of one tenant after those of another, in their order: two transactions
    must not wait for each other.
    """
    if amount_usd:
        row = {"tenant": tenant, "day": charged_at.astimezone(UTC).date(), "amount_usd": amount_usd}
        tx.execute(_ADD[tx.dialect], row)


def _added(insert: sqlite.Insert | postgresql.Insert) -> sa.Executable:
    more = spending.c.amount_usd + insert.excluded.amount_usd
    return insert.on_conflict_do_update(index_elements=["tenant", "day"], set_={"amount_usd": more})


_ADD: Final = {"sqlite": _added(sqlite.insert(spending)), "postgresql": _added(postgresql.insert(spending))}


def budgets_now(tx: Transaction, held_usd: Mapping[str, Decimal]) -> list[Budget]:
    """All budgets with what is used of each now; `held_usd`: what is held for each tenant's jobs under way."""
    found = tx.execute(sa.select(budgets)).all()
    if not found:
        return []
    today = tx.now.date()
    spent = {period: _spent_since(tx, period.first_day(today)) for period in {Period(row.period) for row in found}}
    return [
        Budget(
            row.tenant,
            Period(row.period),
            row.limit_usd,
            WhenUsedUp(row.when_used_up),
            _of(row.tenant, spent[Period(row.period)]) + _of(row.tenant, held_usd),
        )
        for row in found
    ]


def _of(tenant: str, amounts: Mapping[str, Decimal]) -> Decimal:
    return sum(amounts.values(), Decimal(0)) if tenant == EVERYONE else amounts.get(tenant, Decimal(0))


def _spent_since(tx: Transaction, day: date) -> dict[str, Decimal]:
    sums = sa.select(spending.c.tenant, sa.func.sum(spending.c.amount_usd).label("amount_usd")).where(
        spending.c.day >= day
    )
    return {row.tenant: row.amount_usd for row in tx.execute(sums.group_by(spending.c.tenant))}


def set_budget(tx: Transaction, budget: Budget) -> None:
    """Set a budget, or change it; what is used stays."""
    which = {"tenant": budget.tenant, "period": budget.period}
    tx.put(budgets, which, {"limit_usd": budget.limit_usd, "when_used_up": budget.when_used_up})


def remove_budget(tx: Transaction, tenant: str, period: Period) -> bool:
    """Remove a budget; false when there is none."""
    this = (budgets.c.tenant == tenant) & (budgets.c.period == period)
    return tx.execute(sa.delete(budgets).where(this)).rowcount == 1


def differences(tx: Transaction) -> dict[tuple[str, date], tuple[Decimal, Decimal]]:
    """Where the sums are not those of the charges: by tenant and day what stands there, and what should."""
    kept = {(row.tenant, row.day): row.amount_usd for row in tx.execute(sa.select(spending))}
    due: dict[tuple[str, date], Decimal] = {}
    columns = charges.c["tenant", "charged_at", "amount_usd"]
    for row in tx.execute(sa.select(*columns)):
        day = (row.tenant, row.charged_at.astimezone(UTC).date())
        due[day] = due.get(day, Decimal(0)) + row.amount_usd
    none = Decimal(0)
    pairs = {each: (kept.get(each, none), due.get(each, none)) for each in kept.keys() | due.keys()}
    return {each: pair for each, pair in sorted(pairs.items()) if pair[0] != pair[1]}


def recount(tx: Transaction) -> dict[tuple[str, date], tuple[Decimal, Decimal]]:
    """Put the sums right; gives what was wrong. Charges wait for as long as it takes."""
    if tx.dialect == "postgresql":
        tx.execute(sa.text("LOCK TABLE charges, spending IN SHARE ROW EXCLUSIVE MODE"))
    wrong = differences(tx)
    for (tenant, day), (_, amount_usd) in wrong.items():
        tx.put(spending, {"tenant": tenant, "day": day}, {"amount_usd": amount_usd})
    return wrong
