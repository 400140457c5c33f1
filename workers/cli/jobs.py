"""`jobs` and `job`: what the ledger knows of jobs. Never a prompt, an image or a URL."""

from __future__ import annotations

import contextlib

import click
from rich.markup import escape
from rich.table import Table

from schemas.jobs import State
from tasks.ledger import Ledger, reports
from tasks.ledger.rejected import refusal
from tasks.ledger.reports import JobReport, JobRow
from tasks.pulse import PulseError
from workers.cli.common import console, json_option, opened_ledger, print_json, settings, table, var_option, whole_id
from workers.cli.exits import FAILED, Failure
from workers.cli.formats import film_length, frame, instant, size, usd
from workers.runtime import open_pulse
from workers.settings import Settings


@click.command()
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in State]),
    help="Only this state; repeatable.",
)
@click.option("--tenant", help="Only this tenant's.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most.")
@var_option
@json_option()
def jobs(states: tuple[str, ...], tenant: str | None, limit: int, *, as_json: bool) -> None:
    """List jobs, newest first."""
    with opened_ledger(settings()) as ledger, ledger.read() as tx:
        found = reports.job_rows(tx, states=frozenset(map(State, states)), tenant=tenant, limit=limit + 1)
    rows, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"jobs": rows, "more": more})
        return
    if not rows:
        click.echo("No jobs.")
        return
    shown = table("job", "state", "film", "tenant", "accepted", "charged", "error", right=("charged",))
    for row in rows:
        cells = (row.id, row.state, _film(row), row.tenant, instant(row.accepted_at), usd(row.charged_usd))
        shown.add_row(*cells, escape(row.error_code or ""))
    console().print(shown)
    if more:
        click.echo(f"There are more than these {limit}: use --limit.")


@click.command()
@click.argument("job_id", metavar="ID")
@var_option
@json_option()
def job(job_id: str, *, as_json: bool) -> None:
    """Tell one job's story. ID is its id, or the beginning of it."""
    read = settings()
    with opened_ledger(read) as ledger:
        report = _told(ledger, job_id)
        if report is None:
            absent = _absent(read, job_id)
            # Once more: a request leaves the stream when the ledger has it.
            report = _told(ledger, job_id)
    if report is None:
        raise Failure(absent, FAILED)
    if as_json:
        print_json(report)
    else:
        _print_report(report)


def _told(ledger: Ledger, job_id: str) -> JobReport | None:
    """The job of this id, or of the only one that begins so. Raises Failure for a request that was refused."""
    with ledger.read() as tx:
        report = reports.job_report(tx, whole_id(tx, job_id))
        refused = refusal(tx, job_id) if report is None else None
    if refused is not None:
        todo = "Mend that and submit it again; `python -m workers rejected retry` has it read once more as it came."
        said = f"the request of job {job_id} was refused at {instant(refused.at)}: {refused.reason}."
        raise Failure(f"{said} {todo}", FAILED)
    return report


def _absent(read: Settings, job_id: str) -> str:
    """What there is to say of a job that the ledger does not have: its request may wait in Redis."""
    try:
        with contextlib.closing(open_pulse(read)) as pulse:
            since = pulse.intake.waiting({job_id}).get(job_id)
    except PulseError as error:
        where = f"Redis, where its request may wait to be accepted, does not answer ({type(error).__name__})."
    else:
        if since is not None:
            return (
                f"job {job_id} is not accepted yet: its request has waited in Redis since {instant(since)}. "
                f"`python -m workers watch {job_id}` waits for it; `python -m workers doctor` says whether workers run."
            )
        where = "Its request does not wait in Redis either."
    return f"there is no job {job_id}. {where} `python -m workers jobs` lists those there are."


def _film(row: JobRow) -> str:
    return f"{row.resolution or '?'} {row.duration_s or '?'} s"


def _print_report(report: JobReport) -> None:
    out, row = console(), report.job
    facts = table("", "")
    facts.show_header = False
    for name, value in _facts(report).items():
        if value:
            facts.add_row(name, escape(value))
    out.print(f"[bold]job {row.id}[/bold]  {row.state}")
    out.print(facts)
    sections = {
        "Timeline": _timeline(report),
        "Create calls": _attempts(report),
        "Outputs": _outputs(report),
        "Charges": _charges(report),
    }
    for title, shown in sections.items():
        if shown.row_count:
            out.print(f"\n[bold]{title}[/bold]")
            out.print(shown)


def _facts(report: JobReport) -> dict[str, str]:
    row = report.job
    error = f"{report.error_message or ''} [{row.error_code}], while {report.error_stage}" if row.error_code else ""
    return {
        "film": f"{row.model}, {_film(row)}",
        "tenant": row.tenant,
        "priority": str(row.priority),
        "accepted": instant(row.accepted_at),
        "deadline": instant(report.deadline_at) if report.deadline_at else "",
        "key": row.key_alias or "",
        "provider task": report.provider_task_id or "",
        "list price": usd(row.estimate_usd),
        "charged": usd(row.charged_usd),
        "error": error,
    }


def _timeline(report: JobReport) -> Table:
    shown = table("at", "after", "event", "state", "detail")
    begun = report.job.accepted_at
    for each in report.timeline:
        detail = ", ".join(f"{name} {value}" for name, value in each.detail.items() if value is not None)
        after = f"{(each.at - begun).total_seconds():.1f} s"
        shown.add_row(instant(each.at), after, each.event, each.state, escape(detail))
    return shown


def _attempts(report: JobReport) -> Table:
    shown = table("attempt", "key", "begun", "outcome", "HTTP", "reason")
    for each in report.attempts:
        cells = (str(each.number), each.key_alias, instant(each.begun_at), each.outcome or "never heard of again")
        shown.add_row(*cells, str(each.http_status or "-"), escape(each.reason or ""))
    return shown


def _outputs(report: JobReport) -> Table:
    shown = table("output", "type", "file in the store", "frame", "duration", "size", "mismatch", right=("size",))
    for each in report.outputs:
        file = escape(each.path) if each.kept else "not kept any more"
        cells = (str(each.index), escape(each.type), file, frame(each), film_length(each))
        shown.add_row(*cells, size(each.size_bytes), escape(each.mismatch or ""))
    return shown


def _charges(report: JobReport) -> Table:
    shown = table("charge of task", "key", "amount", "", "at", right=("amount",))
    for each in report.charges:
        note = "estimated from the price list" if each.estimated else "as reported"
        cells = (escape(each.provider_task_id), each.key_alias, usd(each.amount_usd), note, instant(each.charged_at))
        shown.add_row(*cells)
    return shown
