"""`watch`: follows jobs until they have ended, whether Redis still shows them or only the ledger knows them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence, Set

import click

from schemas.handle import Handle
from schemas.jobs import State
from schemas.producer import Producer
from tasks.ledger import Ledger, reports
from tasks.ledger.views import views_of
from workers.cli.board import Board, Standing
from workers.cli.common import console, json_option, opened_ledger, print_json, settings, var_option, whole_id
from workers.cli.exits import FAILED, Failure
from workers.cli.live import follow
from workers.cli.params import Lasting
from workers.cli.waiting import deadline, wait_for
from workers.runtime import open_pulse
from workers.settings import Settings

_LIMIT = 1000


class JsonLines:
    """A screen that prints each change of state as one JSON document on a line."""

    def show(self, board: Board, changed: Sequence[Standing]) -> None:  # noqa: ARG002 (a screen's interface)
        """Print a line for each job that has changed."""
        for each in changed:
            print_json(each.as_json())


@click.command()
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@click.option("--timeout", type=Lasting(), help="At most so long, such as 10m; the jobs go on.")
@var_option
@json_option("Print one JSON document a line, for each change of state.")
def watch(job_ids: tuple[str, ...], timeout: float | None, *, as_json: bool) -> None:
    """Follow jobs until they have ended; without an ID, all that are open now. Exit code 1 if one did not complete."""
    read = settings()
    with opened_ledger(read) as ledger:
        whole, known = _looked_up(ledger, job_ids)
        new = set(whole) - {each.job_id for each in known}
        known += _expected(ledger, read, new) if new else []
    if not whole:
        click.echo("No job is open.", err=True)
        return
    for job_id in sorted(new - {each.job_id for each in known}):
        click.echo(f"Job {job_id} is not known yet: waiting until it is accepted.", err=True)
    with Producer(read.redis_url) as producer:
        ended = [each for each in known if each.terminal]
        board = Board([producer.handle(job_id) for job_id in whole], ended)
        ends = deadline(timeout, board)
        if as_json:
            JsonLines().show(board, ended)
            follow(board, JsonLines(), ends)
        else:
            wait_for(board, console(), ends, already=ended)
    if any(each.state is not State.COMPLETED for each in board.standings):
        raise click.exceptions.Exit(FAILED)


def _looked_up(ledger: Ledger, job_ids: Sequence[str]) -> tuple[list[str], list[Standing]]:
    """The whole ids of what was asked for, each once, and where those jobs stand that the ledger knows."""
    with ledger.read() as tx:
        asked = dict.fromkeys(whole_id(tx, text) for text in job_ids)
        whole = list(asked) if job_ids else reports.open_ids(tx, _LIMIT)
        return whole, [Standing.of_view(view) for view in views_of(tx, whole)]


def _expected(ledger: Ledger, read: Settings, job_ids: Set[str]) -> list[Standing]:
    """Where those jobs stand of these that were accepted or refused just now; the others wait to be accepted.

    Raises Failure for ids that no job has, and no request that waits.
    """
    with contextlib.closing(open_pulse(read)) as pulse:
        waiting = pulse.intake.waiting(job_ids).keys()
        # Asked after the stream, which a request leaves only when the ledger has it.
        _, known = _looked_up(ledger, sorted(job_ids - waiting))
        known += [
            Standing.of_info(job_id, info)
            for job_id in sorted(job_ids - waiting - {each.job_id for each in known})
            if (info := Handle(pulse.redis, job_id).info)["state"] is not None
        ]
    unknown = sorted(job_ids - waiting - {each.job_id for each in known})
    if unknown:
        whose = f"job {unknown[0]} is" if len(unknown) == 1 else f"jobs {', '.join(unknown)} are"
        raise Failure(f"{whose} unknown. `python -m workers jobs` lists those there are.", FAILED)
    return known
