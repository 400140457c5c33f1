"""`uncertain`: jobs of which nobody knows whether the provider has a task, with the evidence, and ways out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

import click
from rich.markup import escape

from tasks import operating
from tasks.context import Context
from tasks.domain.job import Job
from tasks.ledger.doubts import UncertainJob, uncertain_jobs
from tasks.pulse import PulseError
from tasks.pulse.timetable import Noted
from workers.cli.common import (
    console,
    json_option,
    lists,
    opened_context,
    print_json,
    settings,
    table,
    var_option,
    whole_id,
)
from workers.cli.exits import UNREACHABLE, Failure
from workers.cli.formats import instant, usd
from workers.cli.params import Dollars

_LIMIT: Final = 1000
_MOST_USD: Final = 1000


@click.group(invoke_without_command=True)
@var_option
@json_option()
@click.pass_context
def uncertain(context: click.Context, *, as_json: bool) -> None:
    """List uncertain jobs with the evidence; or resolve one: bind, write-off, anew.

    A create may or may not have been accepted, and no task id is known. Compare with the provider's own list of tasks:
    one of that key, begun at that second? Then `bind` it. None? Then `write-off --unpaid` or `anew`. The job is never
    created again unless you ask for it.
    """
    if not lists(context):
        return
    read = settings()
    with opened_context(read) as ctx:
        with ctx.ledger.read() as tx:
            found = uncertain_jobs(tx, read.policy.uncertain_slot_s, _LIMIT)
        noted = _noted(ctx, [job.job_id for job in found if job.held])
    if as_json:
        tasks = None if noted is None else {job_id: _task_of(each) for job_id, each in noted.items()}
        print_json({"jobs": found, "timetable": tasks})
    elif found:
        _print(found, noted)
    else:
        click.echo("No job is uncertain.")


@uncertain.command()
@click.argument("job_id", metavar="ID")
@click.argument("provider_task_id", metavar="TASK")
@var_option
@json_option()
def bind(job_id: str, provider_task_id: str, *, as_json: bool) -> None:
    """Say that the job has this provider task. The provider is asked first."""
    with _resolving() as ctx:
        _say(operating.bind(ctx, _whole(ctx, job_id), provider_task_id), as_json=as_json)


@uncertain.command("write-off")
@click.argument("job_id", metavar="ID")
@click.option(
    "--paid", "paid_usd", metavar="USD", type=Dollars(_MOST_USD), help="Charge so much for it, marked as an estimate."
)
@click.option("--unpaid", is_flag=True, help="Nothing was created, so nothing is charged.")
@var_option
@json_option()
def write_off(job_id: str, paid_usd: Decimal | None, *, unpaid: bool, as_json: bool) -> None:
    """Give the job up: it fails. Say whether it was paid for."""
    if unpaid == (paid_usd is not None):
        raise click.UsageError("Say --paid USD or --unpaid: every cent is accounted for.")
    with _resolving() as ctx:
        _say(operating.write_off(ctx, _whole(ctx, job_id), paid_usd), as_json=as_json)


@uncertain.command()
@click.argument("job_id", metavar="ID")
@var_option
@json_option()
def anew(job_id: str, *, as_json: bool) -> None:
    """Create the job once more. If the first create was accepted after all, both are paid for."""
    with _resolving() as ctx:
        _say(operating.create_anew(ctx, _whole(ctx, job_id)), as_json=as_json)


@contextlib.contextmanager
def _resolving() -> Iterator[Context]:
    with opened_context(settings()) as ctx:
        try:
            yield ctx
        except PulseError as error:
            raise Failure(
                f"Redis can't be asked for the task of this job ({type(error).__name__}), which is held since a"
                " restore; nothing was done. Start Redis, or set REELWORKS_REDIS_URL, and try again.",
                UNREACHABLE,
            ) from error


def _noted(ctx: Context, held: Sequence[str]) -> Mapping[str, Noted] | None:
    """Which tasks Redis' timetable has of these jobs, by job; `None` while Redis can't be asked."""
    try:
        return ctx.pulse.timetable.noted_of(held) if held else {}
    except PulseError:
        return None


def _task_of(noted: Noted) -> Mapping[str, str]:
    return {"provider_task_id": noted.provider_task_id, "key": noted.key_alias}


def _whole(ctx: Context, job_id: str) -> str:
    with ctx.ledger.read() as tx:
        return whole_id(tx, job_id)


def _say(job: Job, *, as_json: bool) -> None:
    if as_json:
        print_json({"job": job.id, "state": job.state, "provider_task_id": job.provider_task_id})
    else:
        click.echo(f"Job {job.id} is {job.state}.")


def _print(found: Sequence[UncertainJob], noted: Mapping[str, Noted] | None) -> None:
    shown = table(
        "job", "since", "key", "list price", "slot", "attempt", "begun", "HTTP", "evidence", right=("list price",)
    )
    for job in found:
        slot = "held" if job.holds_slot else "free"
        facts = [job.job_id, instant(job.since), job.key_alias or "", usd(job.estimate_usd), slot]
        for evidence in _evidence(job, (noted or {}).get(job.job_id)):
            shown.add_row(*facts, *evidence)
            facts = [""] * len(facts)
    console().print(shown)
    if any(job.held for job in found):
        click.echo(
            "Those of before the restore: `ops/runbooks/ledger-restored.md` says how to tell what became of them."
        )
    if noted is None:
        click.echo("Redis does not answer: of which of them it has the provider's task is not known.")
    click.echo(f"{len(found)} uncertain. Resolve with `python -m workers uncertain bind|write-off|anew`.")


def _evidence(job: UncertainJob, noted: Noted | None) -> list[tuple[str, str, str, str]]:
    """What is known of each create call: number, begin, HTTP status, and why its outcome is not."""
    lost = f"task {job.provider_task_id} is not known to the provider any more" if job.provider_task_id else ""
    rows = [
        (
            str(each.number),
            instant(each.begun_at),
            str(each.http_status or "-"),
            escape(lost or f"{each.outcome or 'never heard of again'}: {each.reason or '-'}"),
        )
        for each in job.attempts
    ]
    if noted is not None:
        task = f"task {noted.provider_task_id} of key {noted.key_alias}"
        rows.append(("-", "-", "-", f"created since: {task}"))
    elif job.held:
        rows.append(("-", "-", "-", "from before the restore: it may have been created since"))
    return rows
