"""`prune`: removes what is not to be kept any longer, now and all of it, as the sweep does by and by."""

from __future__ import annotations

from dataclasses import asdict

import click

from tasks.context import Context
from tasks.ledger.retention import Due, due, removals_left
from tasks.policy import LONGEST_DAYS, days_problem
from tasks.pruning import Pruned
from tasks.pruning import prune as prune_batch
from workers.cli.common import json_option, opened_context, print_json, settings, var_option
from workers.cli.formats import size
from workers.cli.params import Finite

_DAYS = Finite(min=0, max=LONGEST_DAYS)


@click.command()
@click.option("--outputs-days", type=_DAYS, help="Files of jobs that ended so many days ago (REELWORKS_OUTPUTS_DAYS).")
@click.option("--jobs-days", type=_DAYS, help="Jobs that ended so many days ago (REELWORKS_JOBS_DAYS).")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@var_option
@json_option()
def prune(outputs_days: float | None, jobs_days: float | None, *, dry_run: bool, as_json: bool) -> None:
    """Remove files and jobs that are not to be kept any longer; charges stay. 0 days: kept for good."""
    read = settings()
    outputs_days = read.policy.outputs_days if outputs_days is None else outputs_days
    jobs_days = read.policy.jobs_days if jobs_days is None else jobs_days
    problem = days_problem(outputs_days, jobs_days)
    if problem is not None:
        raise click.UsageError(f"--jobs-days (REELWORKS_JOBS_DAYS) {problem}.")
    with opened_context(read) as ctx:
        done: Due | Pruned
        if dry_run:
            with ctx.ledger.read() as tx:
                done = due(tx, outputs_days, jobs_days)
        else:
            done = _all(ctx, outputs_days, jobs_days)
        with ctx.ledger.read() as tx:
            left = removals_left(tx)
    figures = {name: value for name, value in asdict(done).items() if name != "more"}
    if as_json:
        print_json({"dry_run": dry_run, **figures, "removals_left": left})
        return
    if not outputs_days:
        click.echo("The files of all jobs are kept for good: REELWORKS_OUTPUTS_DAYS is 0.")
    word = "Would be removed" if dry_run else "Removed"
    click.echo(
        f"{word}: files {done.files} ({size(done.size_bytes)}), of ended jobs {done.jobs_without_files}; "
        f"whole jobs {done.jobs}."
    )
    if left:
        click.echo(
            f"Left to the sweep: {left}. Pictures that no job names any more wait for ten minutes; what could not be "
            "removed is tried again."
        )


def _all(ctx: Context, outputs_days: float, jobs_days: float) -> Pruned:
    done = Pruned()
    while True:
        batch = prune_batch(ctx, outputs_days, jobs_days)
        done += batch
        if not batch.more:
            return done
