"""`top`: how the whole stands, in the terminal, read again and again. Changes nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from schemas.keys import ENQUEUE_QUEUE
from tasks.hints import LANES_QUEUE, QUEUES
from tasks.lanes import LANES
from tasks.ledger import Ledger, LedgerError
from tasks.ledger.gauges import ledger_gauges
from tasks.ledger.standings import key_standings
from tasks.ledger.underway import failed_lately
from tasks.pulse import Pulse, PulseError
from workers.cli.common import console, json_option, opened_ledger, print_json, settings, var_option
from workers.cli.frame import FAILURES_S, Frame, drawn
from workers.cli.params import Finite
from workers.runtime import open_pulse
from workers.settings import Settings


@click.command()
@click.option(
    "--interval", "interval_s", type=Finite(min=0.5, max=3600), default=2.0, show_default=True, help="Seconds between."
)
@click.option("--once", is_flag=True, help="Print one picture and end. So it is where there is no terminal.")
@var_option
@json_option("Print one picture as one JSON document, and end.")
def top(*, interval_s: float, once: bool, as_json: bool) -> None:
    """Show how the whole stands: jobs, slots, tenants, money, lanes, failures. Ends with Ctrl-C.

    Reads the database and Redis; while Redis is away it says so, and shows what the database knows.
    """
    read = settings()
    out = console()
    with opened_ledger(read) as ledger, contextlib.closing(open_pulse(read)) as pulse:
        frame = look(read, ledger, pulse)
        if as_json:
            print_json(frame)
        elif once or not out.is_terminal:
            out.print(drawn(frame))
        else:
            with contextlib.suppress(KeyboardInterrupt):
                _follow(out, frame, interval_s, lambda: look(read, ledger, pulse))


def _follow(out: Console, frame: Frame, interval_s: float, again: Callable[[], Frame]) -> None:
    """Until it is interrupted."""
    picture = drawn(frame)
    with Live(console=out, auto_refresh=False, screen=True) as live:
        while True:
            live.update(picture, refresh=True)
            time.sleep(interval_s)
            try:
                picture = drawn(again())
            except LedgerError as error:
                picture = Text(f"The database does not answer ({type(error).__name__}).", "red")


def look(read: Settings, ledger: Ledger, pulse: Pulse) -> Frame:
    """One picture. Raises `LedgerError`; Redis may be away."""
    with ledger.read() as tx:
        gauges = ledger_gauges(tx, read.policy.uncertain_slot_s)
        configured = {*read.provider_keys, *(each.key_alias for each in gauges.under_way if each.key_alias)}
        keys = key_standings(tx, sorted(configured), read.policy.open_tasks_per_key, read.policy.uncertain_slot_s)
        failed = failed_lately(tx, FAILURES_S)
        now = tx.now
    try:
        found = pulse.gauges.read(tuple(LANES), (LANES_QUEUE, *QUEUES.values(), ENQUEUE_QUEUE))
        redis, away = replace(found, tally={}), None  # what was counted so far is for Prometheus
    except PulseError as error:
        redis, away = None, type(error).__name__
    return Frame(now, gauges, keys, failed, redis, away, read.policy.lane_ttl_s)
