"""`budgets`: what may be spent a day and a month, by a tenant or by all, and what is used of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import click
from rich.markup import escape

from tasks.domain.budgets import EVERYONE, Budget, Period, WhenUsedUp
from tasks.ledger import spending
from tasks.ledger.standings import budget_standings
from workers.cli.common import console, json_option, lists, opened_ledger, print_json, settings, table, var_option
from workers.cli.exits import INVALID, Failure
from workers.cli.formats import usd
from workers.cli.params import Dollars, checked_tenant

_MOST_USD: Final = 1_000_000_000


_WHOSE: Final = click.option(
    "--tenant", callback=checked_tenant, help="This tenant's; without it, all tenants' together."
)
_PERIOD: Final = click.argument("period", type=click.Choice([each.value for each in Period]))


@click.group(invoke_without_command=True)
@var_option
@json_option()
@click.pass_context
def budgets(context: click.Context, *, as_json: bool) -> None:
    """Show what is used of each budget, holds of jobs under way included; or `set`, `remove`, `recount`."""
    if not lists(context):
        return
    read = settings()
    with opened_ledger(read) as ledger, ledger.read() as tx:
        found = budget_standings(tx, read.policy.uncertain_slot_s)
    if as_json:
        print_json({"budgets": found})
        return
    if not found:
        click.echo("There is no budget: nothing limits what is spent. Set one with `python -m workers budgets set`.")
        return
    figures = ("used", "limit", "left")
    shown = table("tenant", "period", *figures, "when used up", right=figures)
    for each in found:
        whose = "all" if each.tenant == EVERYONE else escape(each.tenant)
        left = max(Decimal(0), each.limit_usd - each.used_usd)
        shown.add_row(whose, each.period, usd(each.used_usd), usd(each.limit_usd), usd(left), each.when_used_up)
    console().print(shown)


@budgets.command("set")
@_PERIOD
@click.argument("limit_usd", metavar="USD", type=Dollars(_MOST_USD))
@_WHOSE
@click.option(
    "--when-used-up",
    type=click.Choice([each.value for each in WhenUsedUp]),
    default=WhenUsedUp.WAIT.value,
    show_default=True,
    help="What becomes of jobs for which nothing is left.",
)
@var_option
@json_option()
def set_(period: str, limit_usd: Decimal, tenant: str | None, when_used_up: str, *, as_json: bool) -> None:
    """Allow so much a day or a month (UTC). Counts from the next turn on; what is under way is not stopped."""
    budget = Budget(tenant or EVERYONE, Period(period), limit_usd, WhenUsedUp(when_used_up))
    read = settings()
    with opened_ledger(read) as ledger, ledger.begin() as tx:
        spending.set_budget(tx, budget)
        standings = budget_standings(tx, read.policy.uncertain_slot_s)
    if as_json:
        print_json({"budget": next(each for each in standings if each.name == budget.name)})
    else:
        name = budget.name[0].upper() + budget.name[1:]
        click.echo(f"{name} is {usd(limit_usd)}; when it is used up, jobs {_VERB[budget.when_used_up]}.")


_VERB: Final = {WhenUsedUp.WAIT: "wait", WhenUsedUp.REFUSE: "are refused"}


@budgets.command()
@_PERIOD
@_WHOSE
@var_option
@json_option()
def remove(period: str, tenant: str | None, *, as_json: bool) -> None:
    """Remove a budget: nothing limits that spending any more."""
    with opened_ledger(settings()) as ledger, ledger.begin() as tx:
        removed = spending.remove_budget(tx, tenant or EVERYONE, Period(period))
    if not removed:
        raise Failure("there is no such budget; `python -m workers budgets` lists them.", INVALID)
    if as_json:
        print_json({"removed": True})
    else:
        click.echo("Removed.")


@budgets.command()
@var_option
@json_option()
def recount(*, as_json: bool) -> None:
    """Sum the charges up anew, and say what was wrong. Charges wait for as long as it takes."""
    with opened_ledger(settings()) as ledger, ledger.begin() as tx:
        wrong = spending.recount(tx)
    if as_json:
        print_json(
            {"wrong": [{"tenant": t, "day": day, "was": was, "is": now} for (t, day), (was, now) in wrong.items()]}
        )
        return
    for (tenant, day), (was, now) in wrong.items():
        click.echo(f"{tenant} {day}: {usd(was)} was written, {usd(now)} was charged; put right.")
    click.echo(f"{len(wrong)} of the sums were wrong." if wrong else "All sums are those of the charges.")
