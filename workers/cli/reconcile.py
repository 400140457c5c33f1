"""`reconcile`: asks the provider about every open or doubtful task, and prints where the ledger says otherwise."""

from __future__ import annotations

from datetime import UTC, datetime

import click
from rich.markup import escape

from tasks import reconciling
from workers.cli.common import console, json_option, opened_context, print_json, settings, table, var_option
from workers.cli.exits import FAILED
from workers.cli.formats import usd


@click.command()
@click.option("--since", type=click.DateTime(formats=["%Y-%m-%d"]), help="Jobs accepted from this day (UTC) on.")
@click.option("--mend", is_flag=True, help="Charge what is missing, correct estimates, take lost tasks up again.")
@var_option
@json_option()
def reconcile(since: datetime | None, *, mend: bool, as_json: bool) -> None:
    """Compare the ledger with the provider. Exit code 1 when they differ. Polls only: it creates and costs nothing."""
    begin = None if since is None else since.replace(tzinfo=UTC)
    with opened_context(settings()) as ctx:
        found = reconciling.reconcile(ctx, begin, mend=mend)
    left = [each for each in found.differences if not each.mended]
    if as_json:
        print_json({"asked": found.asked, "differences": found.differences})
    else:
        if found.differences:
            shown = table("job", "provider task", "key", "ledger", "provider", "missing", "", right=("missing",))
            for each in found.differences:
                cells = (
                    escape(each.provider_task_id),
                    each.key_alias or "",
                    escape(each.ledger),
                    escape(each.provider),
                )
                shown.add_row(each.job_id, *cells, usd(each.missing_usd), "mended" if each.mended else "")
            console().print(shown)
        missing = usd(reconciling.differences_usd(found.differences))
        click.echo(f"{found.asked} provider tasks asked about, {len(left)} differences, {missing} not charged.")
    if left:
        raise click.exceptions.Exit(FAILED)
