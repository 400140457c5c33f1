"""`migrate`, `pool`, `gateway`, `flower`, `openapi`: what `up` and a container start, one thing at a time, and what it
is like."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from tasks.ledger.migrate import upgrade
from workers import pools
from workers.cli.common import opened_ledger, settings, sqlite_path, var_option
from workers.cli.exits import INVALID, UNCONFIGURED, Failure
from workers.folderlock import make_private
from workers.runtime import open_ledger
from workers.stackplan import ROOT
from workers.transports import is_loopback

_NO_LOGIN: Final = "REELWORKS_FLOWER_NO_LOGIN"  # from this verb to Flower's configuration, and from nowhere else


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
    _become(pools.command(name, read.pools))


@click.command()
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(1, 65_535), default=5555, show_default=True)
@click.option("--no-login", is_flag=True, help="Let everyone on this machine in; on a loopback address alone.")
@var_option
def flower(address: str, port: int, *, no_login: bool) -> None:
    """Run Flower, the view of workers and tasks, in this process. Needs a login (REELWORKS_FLOWER_LOGIN)."""
    read = settings()  # said here, in a sentence, rather than by Celery
    if no_login:
        if not is_loopback(address):
            raise Failure(f"--no-login is for a loopback address, and {address} is none.", INVALID)
        os.environ[_NO_LOGIN] = "yes"
    elif not read.flower_login:
        raise Failure(
            "Flower needs a login: set REELWORKS_FLOWER_LOGIN to user:password, or REELWORKS_FLOWER_LOGIN_FILE to a "
            "file that holds it. On this machine alone, --no-login does without.",
            UNCONFIGURED,
        )
    else:
        os.environ.pop(_NO_LOGIN, None)
    if file := os.environ.get("REELWORKS_FLOWER_LOGIN_FILE"):
        os.environ["REELWORKS_FLOWER_LOGIN_FILE"] = str(Path(file).absolute())
    os.chdir(ROOT)  # where the path of its configuration begins
    _become(pools.flower_command(address=address, port=port))


@click.command()
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(1, 65_535), default=8080, show_default=True)
@var_option
def gateway(address: str, port: int) -> None:
    """Run the gateway, the HTTP door, in this process, until SIGTERM. Needs REELWORKS_GATEWAY_SECRET.

    It holds no provider key, and accepts while Redis is away. TLS is for what stands before it.
    """
    from workers.gateway.server import serve

    read = settings()
    with opened_ledger(read):
        pass
    if read.gateway_secret is None:
        raise Failure(
            "the gateway signs links to films: set REELWORKS_GATEWAY_SECRET to 32 random characters or more, or "
            "REELWORKS_GATEWAY_SECRET_FILE to a file that holds them (openssl rand -hex 32).",
            UNCONFIGURED,
        )
    serve(read, read.gateway_secret, address, port)


@click.command()
def openapi() -> None:
    """Print the gateway's OpenAPI document. Needs neither settings nor anything that runs."""
    from workers.gateway.app import document

    click.echo(json.dumps(document(), indent=1))


def _become(argv: Sequence[str]) -> None:
    """Replace this process by the command: signals then reach it directly."""
    sys.stdout.flush()
    os.execv(argv[0], list(argv))  # noqa: S606 (our own command line, no shell)
