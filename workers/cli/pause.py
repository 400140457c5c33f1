"""`pause` and `resume`: have nothing new created, for all, a tenant or a key, and let creates go on."""

from __future__ import annotations

import difflib
import getpass
import os
import socket
from collections.abc import Sequence
from typing import Final

import click

from tasks import pausing
from tasks.domain.pauses import Pause, Scope
from tasks.ledger.database import Transaction
from tasks.ledger.gauges import keys_used
from tasks.ledger.pauses import knows_key, knows_tenant, pauses_for, pauses_now
from tasks.ledger.standings import key_standings, tenant_standings
from workers.cli.common import Command, json_option, opened_context, print_json, settings, var_option
from workers.cli.exits import INVALID, Failure
from workers.cli.formats import pause_line
from workers.cli.params import Lasting, Line, checked_tenant
from workers.settings import Settings

_LONGEST_REASON: Final = 300
_LONGEST_NAME: Final = 128
_PASSED_ON: Final = "Nothing new is created; what the provider has is followed to its end."


def here() -> str:
    """Who types, as far as this machine knows: `ops@host`."""
    try:
        login = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user that is a number alone, as in a container
        login = f"user {os.getuid()}"
    return f"{login}@{socket.gethostname()}"[:_LONGEST_NAME]


def said_by(command: Command) -> Command:
    """Adds `--reason` and `--by`."""
    who = "Who says so. Default: your login and this machine."
    command = click.option("--by", type=Line(_LONGEST_NAME), default=here, show_default=False, help=who)(command)
    why = "Why, for whoever looks; tenants see it on their pages."
    return click.option("--reason", type=Line(_LONGEST_REASON), help=why)(command)


def _chosen(command: Command) -> Command:
    """Adds `--all`, `--tenant` and `--key`."""
    command = click.option("--key", metavar="ALIAS", help="A provider key; others go on.")(command)
    command = click.option("--tenant", callback=checked_tenant, help="One tenant's jobs.")(command)
    return click.option("--all", "everyone", is_flag=True, help="All tenants and all keys.")(command)


@click.command()
@_chosen
@said_by
@click.option("--for", "for_s", type=Lasting(least_s=1), help="So long, such as 30m or 2h; else until `resume`.")
@var_option
@json_option()
def pause(
    *,
    everyone: bool,
    tenant: str | None,
    key: str | None,
    reason: str | None,
    by: str,
    for_s: float | None,
    as_json: bool,
) -> None:
    """Have nothing new created, for all, a tenant or a key. Nothing is refused, and what is under way goes on.

    Jobs go on being accepted, and wait; only a job's own deadline_s still counts. What the provider has is looked at,
    fetched and charged. Stands in the database, so it outlives restarts and a loss of Redis' data. To say it again
    changes who, why and until when.
    """
    scope, name = _selection(everyone=everyone, tenant=tenant, key=key)
    read = settings()
    with opened_context(read) as ctx:
        with ctx.ledger.read() as tx:
            _check_known(tx, read, scope, name)
        done = pausing.pause(ctx, scope, name, by=by, reason=reason, for_s=for_s)
    if as_json:
        print_json({"pause": done.pause, "stood_before": done.before, "taken_back": done.taken_back})
        return
    click.echo(f"{pause_line(done.pause)}.")
    click.echo(_PASSED_ON)
    if done.taken_back:
        click.echo(f"Jobs that were about to be created, and wait again: {len(done.taken_back)}.")


@click.command()
@_chosen
@var_option
@json_option()
def resume(*, everyone: bool, tenant: str | None, key: str | None, as_json: bool) -> None:
    """Let creates go on that `pause` has stopped; from the next turn on. Other pauses stand, and are named."""
    scope, name = _selection(everyone=everyone, tenant=tenant, key=key)
    read = settings()
    with opened_context(read) as ctx:
        with ctx.ledger.read() as tx:
            _check_known(tx, read, scope, name)
        ended = pausing.resume(ctx, scope, name)
        with ctx.ledger.read() as tx:
            left = pauses_for(tx, name) if scope is Scope.TENANT else pauses_now(tx)
    if as_json:
        print_json({"resumed": ended, "pauses": left})
        return
    click.echo(f"{Pause(scope, name).of} was not paused." if ended is None else f"Ended: {pause_line(ended)}.")
    say_pauses(left, "Still in force: ")


def say_pauses(found: Sequence[Pause], before: str = "") -> None:
    """A line for each pause."""
    for each in found:
        click.echo(f"{before}{pause_line(each)}.")


def _selection(*, everyone: bool, tenant: str | None, key: str | None) -> tuple[Scope, str]:
    if [everyone, tenant is not None, key is not None].count(True) != 1:
        raise click.UsageError("Say for whom, by one of: --all, --tenant NAME, --key ALIAS.")
    if tenant is not None:
        return Scope.TENANT, tenant
    return (Scope.ALL, "") if key is None else (Scope.KEY, key)


def _check_known(tx: Transaction, read: Settings, scope: Scope, name: str) -> None:
    """Raises Failure for a tenant or a key that nobody has: a slip of the pen would stop nothing."""
    if scope is Scope.TENANT and not knows_tenant(tx, name):
        known = [each.tenant for each in tenant_standings(tx, 0.0)]
        todo = "`python -m workers tenants` lists those that have anything, `tenants set` makes one."
        raise Failure(f"there is no tenant {name!r}{_near(name, known)}. {todo}", INVALID)
    if scope is Scope.KEY and name not in read.provider_keys and not knows_key(tx, name):
        # A running stack has keys of its own, which its environment alone tells.
        configured = sorted(read.provider_keys) or keys_used(tx)
        known = [each.key.alias for each in key_standings(tx, configured, 0, 0.0)]
        nowhere = "none is configured here (REELWORKS_PROVIDER_KEYS), and none was used yet"
        there = f"there are: {', '.join(known)}" if known else nowhere
        raise Failure(f"there is no key {name!r}; {there}.", INVALID)


def _near(name: str, known: Sequence[str]) -> str:
    found = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""
