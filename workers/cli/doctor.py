"""`doctor`: looks at everything that a working installation needs."""

from __future__ import annotations

import click

from workers.cli.checks import checks, environment_names
from workers.cli.common import json_option, print_json, var_option
from workers.cli.exits import FAILED
from workers.cli.verdicts import Check, Verdict

_MARKS = {Verdict.OK: ("ok", "green"), Verdict.WARNING: ("warn", "yellow"), Verdict.BROKEN: ("BROKEN", "red")}


@click.command()
@var_option
@json_option()
def doctor(*, as_json: bool) -> None:
    """Look at every setting and dependency, and say what to do. Changes nothing, costs nothing."""
    found: list[Check] = []
    for check in checks():
        found.append(check)
        if not as_json:
            _print(check)
    broken = [check for check in found if check.verdict is Verdict.BROKEN]
    if as_json:
        print_json({"ok": not broken, "variables_set": environment_names(), "checks": found})
    else:
        click.echo(f"{len(broken)} broken." if broken else "Nothing is broken.")
    if broken:
        raise click.exceptions.Exit(FAILED)


def _print(check: Check) -> None:
    word, colour = _MARKS[check.verdict]
    click.echo(f"{click.style(f'{word:<7}', fg=colour)}{check.name}: {check.found}")
    if check.todo:
        click.echo(f"{'':7}-> {check.todo}")
