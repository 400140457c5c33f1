"""`tenants`: each tenant's share of the turns, its limit, and what it has under way."""

from __future__ import annotations

from typing import Final

import click
from rich.markup import escape

from tasks.domain.pauses import Scope
from tasks.ledger.admission import set_tenant
from tasks.ledger.pauses import pauses_now
from tasks.ledger.standings import tenant_standings
from workers.cli.common import console, json_option, lists, opened_ledger, print_json, settings, table, var_option
from workers.cli.formats import usd
from workers.cli.params import NO_LIMIT, Finite, checked_tenant, limit_or_none, pace_or_none
from workers.cli.pause import say_pauses

_WEIGHT: Final = Finite(min=0.001, max=1000)


@click.group(invoke_without_command=True)
@var_option
@json_option()
@click.pass_context
def tenants(context: click.Context, *, as_json: bool) -> None:
    """Show tenants with what they have waiting and open; or `set` a tenant's share of the turns and its limit."""
    if not lists(context):
        return
    read = settings()
    with opened_ledger(read) as ledger, ledger.read() as tx:
        found = tenant_standings(tx, read.policy.uncertain_slot_s)
        stopped = [each for each in pauses_now(tx) if each.scope is not Scope.KEY]
    if as_json:
        print_json({"tenants": found, "pauses": stopped})
        return
    say_pauses(stopped)
    if not found:
        click.echo("There is no tenant yet: the first job makes one.")
        return
    figures = ("weight", "open", "limit", "waiting", "held", "jobs limit", "requests a minute")
    shown = table("tenant", *figures, right=figures)
    for each in found:
        shown.add_row(
            escape(each.tenant),
            f"{each.weight:g}",
            str(each.open_tasks),
            _own(each.open_limit),
            str(each.waiting),
            usd(each.held_usd),
            _own(each.jobs_limit),
            _own(each.requests_per_minute),
        )
    console().print(shown)


@tenants.command("set")
@click.argument("name", callback=checked_tenant)
@click.option("--weight", type=_WEIGHT, help="Its share of the turns against others (1 by default).")
@click.option("--open-limit", callback=limit_or_none, help="Provider tasks it may have open at once, or none.")
@click.option("--jobs-limit", callback=limit_or_none, help="Jobs it may have until the gateway takes no more, or none.")
@click.option("--requests-per-minute", "pace", callback=pace_or_none, help="What it may ask of the gateway, or none.")
@var_option
@json_option()
def set_(
    name: str,
    weight: float | None,
    open_limit: int | str | None,
    jobs_limit: int | str | None,
    pace: float | str | None,
    *,
    as_json: bool,
) -> None:
    """Set a tenant's share of the turns, how many tasks it may have open, and what it may ask of the gateway.

    Counts from the next turn, and the next request, on; `none` gives back the settings' own.
    """
    given = {"weight": weight, "open_limit": open_limit, "jobs_limit": jobs_limit, "requests_per_minute": pace}
    values = {what: None if value == NO_LIMIT else value for what, value in given.items() if value is not None}
    if not values:
        raise click.UsageError("Say what to set: --weight, --open-limit, --jobs-limit, --requests-per-minute.")
    with opened_ledger(settings()) as ledger, ledger.begin() as tx:
        set_tenant(tx, name, **values)
    if as_json:
        print_json({"tenant": name, **values})
    else:
        said = (f"{what.replace('_', ' ')} {_own(value, NO_LIMIT)}" for what, value in values.items())
        click.echo(f"Tenant {name}: {', '.join(said)}.")


def _own(value: float | str | None, nothing: str = "-") -> str:
    """A tenant's own number; `nothing` where that of the settings holds, or none."""
    return nothing if value is None else f"{float(value):.10g}"
