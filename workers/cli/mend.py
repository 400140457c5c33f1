"""`cancel` and `retry`: what a person does with one job."""

from __future__ import annotations

import click

from schemas.jobs import State
from tasks import operating
from tasks.domain.job import Job
from workers.cli.common import json_option, opened_context, print_json, settings, var_option, whole_id


@click.command()
@click.argument("job_id", metavar="ID")
@var_option
@json_option()
def cancel(job_id: str, *, as_json: bool) -> None:
    """Cancel a job. What the provider has begun is followed to its end and paid for; its output is not delivered."""
    with opened_context(settings()) as ctx:
        with ctx.ledger.read() as tx:
            whole = whole_id(tx, job_id)
        job = operating.cancel(ctx, whole)
    _say(job, as_json=as_json)


@click.command()
@click.argument("job_id", metavar="ID")
@click.option("--anew", is_flag=True, help="Create it once more at the provider: costs again.")
@var_option
@json_option()
def retry(job_id: str, *, anew: bool, as_json: bool) -> None:
    """Have a failed job tried again from the stage that failed. Without --anew it is never created a second time."""
    with opened_context(settings()) as ctx:
        with ctx.ledger.read() as tx:
            whole = whole_id(tx, job_id)
        job = operating.retry(ctx, whole, anew=anew)
    _say(job, as_json=as_json)


def _say(job: Job, *, as_json: bool) -> None:
    if as_json:
        print_json({"job": job.id, "state": job.state, "cancel_requested_at": job.cancel_requested_at})
    elif job.cancel_requested_at is not None and job.state is State.UNCERTAIN:
        click.echo(
            f"Job {job.id} is uncertain: it will be cancelled when somebody says what became of its create"
            " (`python -m workers uncertain`)."
        )
    elif job.cancel_requested_at is not None and job.state is not State.CANCELLED:
        click.echo(
            f"Job {job.id} is {job.state}: it will be cancelled when the provider's task has ended, and charged."
        )
    else:
        click.echo(f"Job {job.id} is {job.state}.")
