"""`rejected`: what came through the doors in Redis and was put aside, with its reason."""

from __future__ import annotations

import click
from rich.markup import escape

from tasks.ledger import reports
from workers.cli.common import console, json_option, opened_ledger, print_json, settings, table, var_option
from workers.cli.formats import instant


@click.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most.")
@var_option
@json_option()
def rejected(limit: int, *, as_json: bool) -> None:
    """List requests and commands that were put aside, the latest first. What they hold stays in the database."""
    with opened_ledger(settings()) as ledger, ledger.read() as tx:
        found = reports.refusals(tx, limit + 1)
    rows, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"rejected": rows, "more": more})
        return
    if not rows:
        click.echo("Nothing was put aside.")
        return
    shown = table("at", "entry", "job", "reason")
    for row in rows:
        shown.add_row(instant(row.at), row.entry_id, escape(row.job_id or "-"), escape(row.reason))
    console().print(shown)
    if more:
        click.echo(f"There are more than these {limit}: use --limit.")
