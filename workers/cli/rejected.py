"""`rejected`: what came through the doors in Redis and was put aside, with its reason; has requests read again."""

from __future__ import annotations

import click
from rich.markup import escape

from tasks.ledger.rejected import refusals, requests_aside
from tasks.returning import NotReturnable, put_back
from workers.cli.common import (
    console,
    json_option,
    lists,
    opened_context,
    opened_ledger,
    print_json,
    settings,
    table,
    var_option,
)
from workers.cli.exits import FAILED
from workers.cli.formats import instant


@click.group(invoke_without_command=True)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most.")
@var_option
@json_option()
@click.pass_context
def rejected(context: click.Context, limit: int, *, as_json: bool) -> None:
    """List requests and commands that were put aside, the latest first; or `retry` requests.

    What they hold stays in the database.
    """
    if not lists(context):
        return
    with opened_ledger(settings()) as ledger, ledger.read() as tx:
        found = refusals(tx, limit + 1)
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


@rejected.command()
@click.argument("entries", metavar="[ENTRY]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All requests; commands are left.")
@click.option("--reason", default="", metavar="TEXT", help="With --all: only those whose reason has this text in it.")
@var_option
@json_option()
def retry(entries: tuple[str, ...], reason: str, *, all_: bool, as_json: bool) -> None:
    """Put requests back into the stream as they came: when this version reads them, or their address is allowed now.

    What still can't be accepted is put aside once more. Exit code 1 if one could not be put back.
    """
    if bool(entries) == all_ or (reason and not all_):
        raise click.UsageError("Name entries; or give --all, with or without --reason.")
    done, left = [], {}
    with opened_context(settings()) as ctx:
        if all_:
            # Known beforehand: what is put aside once more meanwhile has another entry, and is not tried for ever.
            with ctx.ledger.read() as tx:
                entries = tuple(requests_aside(tx, reason))
        for each in entries:
            try:
                put_back(ctx, each)
                done.append(each)
            except NotReturnable as error:
                left[each] = str(error)
    if as_json:
        print_json({"put_back": done, "left": left})
    else:
        for each, why in left.items():
            click.echo(f"{each}: {why}.", err=True)
        click.echo(f"{len(done)} put back into the stream.")
    if left:
        raise click.exceptions.Exit(FAILED)
