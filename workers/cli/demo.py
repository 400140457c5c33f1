"""`demo`: a few films from start to end on a stack of its own, and what they cost."""

from __future__ import annotations

import os
from typing import Any

import click

from workers.cli.common import console, json_option, print_json, var_folder, var_option
from workers.cli.exits import FAILED
from workers.cli.params import SPEED
from workers.cli.up import pool_sizes
from workers.demo.closing import films_table, last_line, total_line
from workers.demo.plan import DEFAULT_PROMPT, VARIABLES, DemoOptions
from workers.demo.run import run


@click.command()
@click.option("--jobs", type=click.IntRange(1, 10_000), envvar=VARIABLES["jobs"], default=3, show_default=True)
@click.option(
    "--image", metavar="PATH|URL", envvar=VARIABLES["image"], help="The first frame. Default: the demo paints one."
)
@click.option(
    "--prompt", envvar=VARIABLES["prompt"], default=DEFAULT_PROMPT, help="What happens, with camera instructions."
)
@click.option("--resolution", envvar=VARIABLES["resolution"], default="768P", show_default=True)
@click.option("--duration", type=int, envvar=VARIABLES["duration"], default=6, show_default=True, help="Seconds.")
@click.option(
    "--speed",
    type=SPEED,
    envvar=VARIABLES["speed"],
    default=30.0,
    show_default=True,
    help="Time factor of the simulator.",
)
@click.option(
    "--provider",
    type=click.Choice(["simulator", "vtrix"]),
    envvar=VARIABLES["provider"],
    default="simulator",
    show_default=True,
    help="vtrix costs money, and needs VTRIX_API_KEY.",
)
@var_option
@json_option("Print one JSON document at the end; all else goes to standard error.")
def demo(*, as_json: bool, **options: Any) -> None:
    """Generate a few films from start to end, and show what they cost.

    Every option is read from the environment variable of its name as well (JOBS, IMAGE, ...). Films, logs and the bill
    stay in a folder under var/demo; var/demo/latest is the newest. Exit code 0 only if every job completed
    and the simulator has billed what was charged.
    """
    pool_sizes()  # said before anything is started
    out = console(stderr=as_json)
    outcome = run(DemoOptions(**options), var_folder(), out, os.environ)
    if as_json:
        print_json(outcome.as_json())
    else:
        # In a narrow terminal its lines go on below: a path that is folded into a column can't be copied.
        out.print(films_table(outcome.standings), width=max(out.width, 120), crop=False)
        out.print(total_line(outcome), soft_wrap=True)
    if outcome.gave_up:
        click.echo(f"Gave up: {outcome.gave_up}.", err=True)
    click.echo(last_line(outcome), err=as_json)
    if not outcome.well:
        raise click.exceptions.Exit(FAILED)
