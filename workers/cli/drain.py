"""`drain`: has nothing new created, and waits until no job is under way and all films are in the store."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import click
from rich.console import Console
from rich.live import Live

from tasks import pausing
from tasks.context import Context
from tasks.domain.pauses import Scope
from tasks.ledger.pauses import pause_now
from tasks.ledger.underway import Flight, in_flight
from tasks.schedule import likely_left_s
from workers.cli.common import console, json_option, opened_context, print_json, settings, var_option
from workers.cli.exits import FAILED
from workers.cli.formats import duration, pause_line
from workers.cli.params import Lasting
from workers.cli.pause import said_by

_LOOK_S: Final = 1.0
_REASON: Final = "drain"
_STANDS: Final = "The pause stands: nothing new is created until `python -m workers resume --all`."

Shown = Callable[[Flight, str], None]
"""Shows what is under way: the figures, and their sentence."""


@click.command()
@click.option("--timeout", "timeout_s", type=Lasting(), help="At most so long, such as 10m; else until it is done.")
@said_by
@var_option
@json_option("Print one JSON document at the end.")
def drain(*, timeout_s: float | None, reason: str | None, by: str, as_json: bool) -> None:
    """Have nothing new created (`pause --all`), and wait until nothing is in flight: before an upgrade, for instance.

    In flight is what is being created, generates, is downloaded or recorded. The workers have to run meanwhile: they do
    it. Uncertain jobs, and tasks that no job follows, are named and not waited for. Exit code 1 when the time is up.
    The pause stands afterwards, whatever becomes of this command, until `resume`.
    """
    with opened_context(settings()) as ctx:
        with ctx.ledger.read() as tx:
            stands = pause_now(tx, Scope.ALL, "")
        why = reason if reason is not None or stands is not None else _REASON
        done = pausing.pause(ctx, Scope.ALL, by=by, reason=why)
        if not as_json:
            click.echo(f"{pause_line(done.pause)}.")
        begun = time.monotonic()
        try:
            with contextlib.nullcontext(_in_silence) if as_json else _screen(console()) as show:
                left = _wait(ctx, show, timeout_s)
        except BaseException:
            click.echo(_STANDS, err=True)
            raise
    _say(left, time.monotonic() - begun, as_json=as_json)
    if left.jobs:
        raise click.exceptions.Exit(FAILED)


def _wait(ctx: Context, show: Shown, timeout_s: float | None) -> Flight:
    """What is in flight at the end: nothing, or what the time was too short for."""
    ends_at = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        with ctx.ledger.read() as tx:
            flight = in_flight(tx)
        show(flight, sentence(flight, likely_left_s(ctx, flight.youngest)))
        left_s = None if ends_at is None else ends_at - time.monotonic()
        if not flight.jobs or (left_s is not None and left_s <= 0):
            return flight
        time.sleep(_LOOK_S if left_s is None else min(_LOOK_S, left_s))


def sentence(flight: Flight, left_s: float | None) -> str:
    """`In flight: 3 generating, 1 downloading; generated in about 2:05.`"""
    counts = ", ".join(f"{number} {state}" for state, number in flight.states.items())
    if not counts:
        return "In flight: nothing."
    if not flight.youngest:
        return f"In flight: {counts}."
    if left_s is None:
        return f"In flight: {counts}; how long such films take is not known."
    if left_s == 0:
        return f"In flight: {counts}; they take longer than most."
    return f"In flight: {counts}; generated in about {duration(left_s)}."


def _in_silence(_flight: Flight, _line: str) -> None:
    pass


@contextlib.contextmanager
def _screen(out: Console) -> Iterator[Shown]:
    """A line that changes in place, or, where there is no terminal, one for each change of the figures."""
    if out.is_terminal:
        with Live(console=out, auto_refresh=False) as live:
            yield lambda _flight, line: live.update(line, refresh=True)
        return
    said: list[Any] = []

    def show(flight: Flight, line: str) -> None:
        if [flight.states] != said:
            said[:] = [flight.states]
            click.echo(line)

    yield show


def _say(left: Flight, waited_s: float, *, as_json: bool) -> None:
    if as_json:
        document = {"drained": not left.jobs, "waited_s": round(waited_s, 1)}
        print_json({**document, "left": left.states, "uncertain": left.uncertain, "strays": left.strays})
        return
    if left.uncertain:
        click.echo(f"Uncertain, and waiting for a person: {left.uncertain} (`python -m workers uncertain`).")
    if left.strays:
        ask = "`python -m workers reconcile` asks about them"
        click.echo(f"No job follows them, and they may still be open at the provider: {left.strays} tasks ({ask}).")
    click.echo(f"Drained after {duration(waited_s)}." if not left.jobs else f"Not drained after {duration(waited_s)}.")
    click.echo(_STANDS)
