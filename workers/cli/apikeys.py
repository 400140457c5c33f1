"""`apikeys`: who may call the gateway, and as which tenant. A key's text is shown once, when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

import click
from rich.markup import escape

from tasks.domain.api_keys import ApiKey, Scope
from tasks.ledger import Transaction
from tasks.ledger.api_keys import add_api_key, expire_api_key, find_api_key, list_api_keys, revoke_api_key
from workers.cli.common import console, json_option, lists, opened_ledger, print_json, settings, table, var_option
from workers.cli.exits import FAILED, Failure
from workers.cli.formats import instant
from workers.cli.params import Finite, checked_tenant
from workers.gateway.keytext import KeyText, mint

_EVERYDAY: Final = (Scope.SUBMIT.value, Scope.READ.value)
_DAYS: Final = Finite(min=0, min_open=True, max=36_500)
_HOURS: Final = Finite(min=0, max=8760)


@click.group(invoke_without_command=True)
@click.option("--tenant", callback=checked_tenant, help="Only this tenant's.")
@var_option
@json_option()
@click.pass_context
def apikeys(context: click.Context, tenant: str | None, *, as_json: bool) -> None:
    """Show the gateway's keys; or `create` one, `rotate` it (a new one, and the old one ends), `revoke` it."""
    if not lists(context):
        return
    with opened_ledger(settings()) as ledger, ledger.read() as tx:
        found, now = list_api_keys(tx, tenant), tx.now
    if as_json:
        print_json({"api_keys": [_shown(each) for each in found]})
        return
    if not found:
        click.echo("There is no key: `python -m workers apikeys create --tenant NAME`.")
        return
    shown = table("key", "tenant", "name", "scopes", "created", "state")
    for each in found:
        scopes = " ".join(sorted(each.scopes))
        shown.add_row(each.id, each.tenant, escape(each.name), scopes, instant(each.created_at), _state(each, now))
    console().print(shown)


@apikeys.command()
@click.option("--tenant", required=True, callback=checked_tenant, help="Whose jobs it stands for.")
@click.option("--name", default="", help="What it is for, to tell it from others; 64 characters at most.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=_EVERYDAY,
    show_default=True,
    type=click.Choice([each.value for each in Scope]),
    help="What it may do; repeatable.",
)
@click.option("--days", type=_DAYS, help="It ends after so many days. Default: when it is revoked.")
@var_option
@json_option()
def create(tenant: str, name: str, scopes: tuple[str, ...], days: float | None, *, as_json: bool) -> None:
    """Make a key. Its text is shown now and never again: the database keeps a hash of it."""
    if len(name) > 64 or not name.isprintable():
        raise click.BadParameter("64 printable characters at most.", param_hint="--name")
    made = mint()
    with opened_ledger(settings()) as ledger, ledger.begin() as tx:
        ends_at = None if days is None else tx.now + timedelta(days=days)
        key = ApiKey(made.id, tenant, name, frozenset(map(Scope, scopes)), tx.now, ends_at)
        add_api_key(tx, key, made.hash())
    _tell(key, made, as_json=as_json)


@apikeys.command()
@click.argument("key_id", metavar="KEY")
@click.option("--overlap-hours", type=_HOURS, default=24.0, show_default=True, help="So long the old one still works.")
@var_option
@json_option()
def rotate(key_id: str, overlap_hours: float, *, as_json: bool) -> None:
    """Make a key that may do the same, and have the old one end after a while."""
    made = mint()
    with opened_ledger(settings()) as ledger, ledger.begin() as tx:
        old = _living(tx, key_id)
        key = ApiKey(made.id, old.tenant, old.name, old.scopes, tx.now)
        add_api_key(tx, key, made.hash())
        ends_at = tx.now + timedelta(hours=overlap_hours)
        expire_api_key(tx, old.id, ends_at)
    _tell(key, made, as_json=as_json, also={"replaces": old.id, "which_ends_at": ends_at})


@apikeys.command()
@click.argument("key_id", metavar="KEY")
@var_option
@json_option()
def revoke(key_id: str, *, as_json: bool) -> None:
    """Have a key open nothing any more, at once."""
    with opened_ledger(settings()) as ledger, ledger.begin() as tx:
        key = _living(tx, key_id)
        revoke_api_key(tx, key.id)
    if as_json:
        print_json({"revoked": key.id})
    else:
        click.echo(f"Key {key.id} of tenant {key.tenant} is revoked.")


def _living(tx: Transaction, key_id: str) -> ApiKey:
    found = find_api_key(tx, key_id)
    if found is None:
        raise Failure(f"there is no key {key_id!r}: `python -m workers apikeys` lists them.", FAILED)
    if not found.key.is_valid(tx.now):
        another = f"`python -m workers apikeys create --tenant {found.key.tenant}` makes another"
        raise Failure(f"key {key_id} has ended already: {another}.", FAILED)
    return found.key


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return f"revoked {instant(key.revoked_at)}"
    if key.expires_at is None:
        return "works"
    return f"{'works until' if key.is_valid(now) else 'ended'} {instant(key.expires_at)}"


def _shown(key: ApiKey) -> dict[str, Any]:
    return {**asdict(key), "scopes": sorted(key.scopes)}


def _tell(key: ApiKey, made: KeyText, *, as_json: bool, also: Mapping[str, Any] | None = None) -> None:
    if as_json:
        print_json({"api_key": _shown(key), "text": made.reveal(), **(also or {})})
        return
    click.echo(f"Key {key.id} of tenant {key.tenant} ({' '.join(sorted(key.scopes))}). Keep it: it is not shown again.")
    if also:
        click.echo(f"It replaces {also['replaces']}, which ends at {instant(also['which_ends_at'])}.")
    click.echo(made.reveal())
