"""`migrate`, `pool`, `flower`: what `up` and a container start, one thing at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from tasks.ledger.migrate import upgrade
from workers import pools
from workers.cli.common import opened_ledger, settings, sqlite_path, var_option
from workers.folderlock import make_private
from workers.runtime import open_ledger
from workers.stackplan import ROOT


@click.command()
@var_option
def migrate() -> None:
    """Bring the database to the schema of this version. Safe to repeat, and to run twice at once."""
    ledger = open_ledger(settings())
    path = sqlite_path(ledger)
    if path is not None:
        make_private(path.parent)
    try:
        revision = upgrade(ledger)
    finally:
        ledger.close()
    click.echo(f"The database is at schema {revision}.")


@click.command()
@click.argument("name", type=click.Choice(list(pools.POOLS)))
@var_option
def pool(name: str) -> None:
    """Run one worker pool in this process, until SIGTERM. Refuses a database whose schema is not this version's."""
    read = settings()
    with opened_ledger(read):
        pass
    _become(pools.command(name, read))


@click.command()
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(1, 65_535), default=5555, show_default=True)
@var_option
def flower(address: str, port: int) -> None:
    """Run Flower, the view of workers and tasks, in this process."""
    settings()  # said here, in a sentence, rather than by Celery
    os.chdir(ROOT)  # where the path of its configuration begins
    _become(pools.flower_command(address=address, port=port))


def _become(argv: Sequence[str]) -> None:
    """Replace this process by the command: signals then reach it directly."""
    sys.stdout.flush()
    os.execv(argv[0], list(argv))  # noqa: S606 (our own command line, no shell)
