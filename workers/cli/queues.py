"""`queues`: who waits, for how long, and when the last of them is likely to start."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import click
from rich.markup import escape

from tasks.domain.pauses import Scope
from tasks.ledger.pauses import pauses_now
from tasks.ledger.standings import tenant_standings
from workers.cli.common import console, json_option, opened_ledger, print_json, settings, table, var_option
from workers.cli.formats import duration
from workers.cli.pause import say_pauses


@click.command()
@var_option
@json_option()
def queues(*, as_json: bool) -> None:
    """Show who waits, for how long, and when the last of them is likely to start.

    Each tenant has a line of its own; lines take turns by the tenants' weights (`tenants`). A line that does not move
    waits for a slot, a key (`keys`), a budget (`budgets`), or the end of a pause (`resume`), until which no start is
    foretold.
    """
    read = settings()
    with opened_ledger(read) as ledger, ledger.read() as tx:
        found = tenant_standings(tx, read.policy.uncertain_slot_s, waiting_only=True)
        stopped = pauses_now(tx)
    closed = {each.name for each in stopped if each.scope is Scope.KEY}
    if read.provider_keys and closed >= set(read.provider_keys):
        found = [replace(each, last_starts_in_s=None) for each in found]
    if as_json:
        print_json({"queues": found, "pauses": stopped})
        return
    say_pauses(stopped)
    if not found:
        click.echo("Nobody waits.")
        return
    figures = ("waiting", "longest", "open", "last starts in")
    shown = table("tenant", *figures, right=figures)
    now = datetime.now(UTC)
    for each in found:
        since = each.oldest_accepted_at
        shown.add_row(
            escape(each.tenant),
            str(each.waiting),
            "-" if since is None else duration((now - since).total_seconds()),
            str(each.open_tasks),
            "-" if each.last_starts_in_s is None else f"about {duration(each.last_starts_in_s)}",
        )
    console().print(shown)
    click.echo(f"{sum(each.waiting for each in found)} waiting.")
