"""`costs`: sums of what was charged, exact to the last digit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
from rich.markup import escape

from tasks.ledger import reports
from workers.cli.common import console, json_option, opened_ledger, print_json, settings, table, var_option
from workers.cli.formats import usd

_DAY = click.DateTime(formats=["%Y-%m-%d"])


@click.command()
@click.option("--since", type=_DAY, help="First day (UTC).")
@click.option("--until", type=_DAY, help="Last day (UTC).")
@click.option("--tenant", help="Only this tenant's.")
@var_option
@json_option()
def costs(since: datetime | None, until: datetime | None, tenant: str | None, *, as_json: bool) -> None:
    """Sum up what was charged, by day, model, tenant and key."""
    begin = None if since is None else since.replace(tzinfo=UTC)
    end = None if until is None else _after(until)
    with opened_ledger(settings()) as ledger, ledger.read() as tx:
        sums = reports.costs(tx, since=begin, until=end, tenant=tenant)
    (total,) = sums.pop("total")
    if as_json:
        totals = {"charges": total.charges, "total_usd": total.amount_usd, "estimated_usd": total.estimated_usd}
        print_json({**totals, **{f"by_{kind}": rows for kind, rows in sums.items()}})
        return
    out = console()
    for kind, rows in sums.items():
        figures = ("charges", "amount", "of it estimated")
        shown = table(f"by {kind}", *figures, right=figures)
        for row in rows:
            shown.add_row(escape(row.name), str(row.charges), usd(row.amount_usd), usd(row.estimated_usd))
        out.print(shown)
        out.print()
    charges = "1 charge" if total.charges == 1 else f"{total.charges} charges"
    note = f" ({usd(total.estimated_usd)} of it estimated from the price list)" if total.estimated_usd else ""
    click.echo(f"total {usd(total.amount_usd)} in {charges}{note}")


def _after(day: datetime) -> datetime | None:
    """The midnight (UTC) at which a day ends; `None` for the last day there is."""
    try:
        return day.replace(tzinfo=UTC) + timedelta(days=1)
    except OverflowError:
        return None
