"""`report`: a page to be sent on, and a table to reckon with, of what became of the jobs of a time and what it cost."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final

import click

from tasks.durably import publish
from tasks.ledger import Transaction, facts, reports
from tasks.ledger.facts import SpanOfTime
from tasks.ledger.standings import budget_standings
from workers.cli.common import json_option, opened_ledger, print_json, settings, var_option
from workers.cli.formats import size, usd
from workers.report.figures import Tally
from workers.report.page import Report, pieces
from workers.report.rows import Rows
from workers.report.sheet import sheet
from workers.runtime import open_store

_BACK: Final = re.compile(r"(\d{1,5})([hd])")
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1)}
_DAYS_MOST: Final = 366
_STILLS_MOST: Final = 500
_STDOUT: Final = "-"
_FILE: Final = click.Path(dir_okay=False, allow_dash=True)


class _Time(click.ParamType[timedelta | date]):
    """So long ago (`24h`, `7d`), or a day (`2026-11-01`, UTC)."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta | date:
        if isinstance(value, timedelta | date):
            return value
        if (back := _BACK.fullmatch(value)) is not None:
            return int(back[1]) * _UNITS[back[2]]
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value} is neither so long ago (24h, 7d) nor a day (2026-11-01).", param, ctx)


@click.command()
@click.option("--since", type=_Time(), default="7d", show_default=True, help="24h, 7d, or the first day (UTC).")
@click.option("--until", type=_Time(), help="The same; of a day, the last one. Default: now.")
@click.option("--tenant", help="Only this tenant's.")
@click.option(
    "--out", type=_FILE, help="The page. Default: report.html, where no --csv is asked for.  [-: standard output]"
)
@click.option("--csv", "table", type=_FILE, help="One row a job.  [-: standard output]")
@click.option(
    "--thumbnails",
    type=click.IntRange(0, _STILLS_MOST),
    default=60,
    show_default=True,
    help="Stills of so many films, the latest.",
)
@var_option
@json_option("Print the figures as one JSON document.")
def report(
    since: timedelta | date,
    until: timedelta | date | None,
    tenant: str | None,
    out: str | None,
    table: str | None,
    thumbnails: int,
    *,
    as_json: bool,
) -> None:
    """Write one HTML page of what became of the jobs of a time, and what it cost; or a table of them.

    The page needs nothing else, and holds no prompt, no picture that was sent in, and no address: it can be sent on.
    """
    if out is None and table is None:
        out = "report.html"
    if out == table:
        raise click.UsageError("--out and --csv can't be the same file.")
    read = settings()
    in_rows = contextlib.nullcontext() if table is None else _written(table)
    with opened_ledger(read) as ledger, in_rows as rows_file, ledger.read() as tx:
        span = _span(tx.now, since, until, tenant)
        found = _read(tx, span, thumbnails, rows_file, read.policy.uncertain_slot_s)
    if out is not None:
        stills = sheet(open_store(read), reversed(found.tally.films))
        with _written(out) as page:
            for piece in pieces(found, stills):
                page.write(piece)
    if as_json:
        print_json(found.document())
        return
    to_stdout = _STDOUT in (out, table)
    for file in (out, table):
        if file is not None and file != _STDOUT:
            click.echo(f"{file}: {size(Path(file).stat().st_size)}", err=to_stdout)
    total = found.total
    click.echo(f"{found.tally.jobs} jobs; {usd(total.amount_usd)} in {total.charges} charges.", err=to_stdout)


def _span(now: datetime, since: timedelta | date, until: timedelta | date | None, tenant: str | None) -> SpanOfTime:
    begin = now - since if isinstance(since, timedelta) else _midnight(since)
    try:
        if until is None:
            end = now
        else:
            end = now - until if isinstance(until, timedelta) else _midnight(until) + timedelta(days=1)
    except OverflowError:  # the day after the last there is
        raise click.UsageError(f"--until {until} is out of range: name an earlier day.") from None
    if not timedelta(0) < end - begin <= timedelta(days=_DAYS_MOST):
        raise click.UsageError(f"--since must be before --until, and {_DAYS_MOST} days before it at most.")
    return SpanOfTime(begin, end, tenant)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _read(tx: Transaction, span: SpanOfTime, films_most: int, rows_file: IO[str] | None, uncertain_s: float) -> Report:
    """All that the report says, of one moment, and the rows of the table on the way."""
    tally, rows = Tally(films_most), None if rows_file is None else Rows(rows_file, tx.now)
    for page in facts.accepted_in(tx, span):
        for job in page:
            tally.add(job)
        if rows is not None:
            rows.write(page)
    if rows is not None:
        for page in facts.charged_besides(tx, span):
            rows.write(page)
    return Report(
        span=span,
        made_at=tx.now,
        tally=tally,
        costs=reports.costs(tx, since=span.since, until=span.until, tenant=span.tenant),
        budgets=[each for each in budget_standings(tx, uncertain_s) if span.tenant in (None, each.tenant)],
        delivered=facts.delivered_in(tx, span),
    )


@contextlib.contextmanager
def _written(file: str) -> Iterator[IO[str]]:
    """A file that is there whole once the block has ended, or not at all."""
    if file == _STDOUT:
        yield sys.stdout
        sys.stdout.flush()
    else:
        final = Path(file)
        part = final.with_name(f"{final.name}.part")
        try:
            with part.open("w", encoding="utf-8", newline="") as written:
                yield written
            publish(part, final)
        finally:
            part.unlink(missing_ok=True)
