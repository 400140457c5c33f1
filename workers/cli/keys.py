"""`keys`: provider keys by alias, their limits, what is open, and what the provider's answers have made of them."""

from __future__ import annotations

from typing import Any

import click
from rich.markup import escape

from tasks import pausing
from tasks.domain.pace import ProviderKey
from tasks.domain.pauses import Scope
from tasks.ledger import Ledger
from tasks.ledger.gauges import keys_used
from tasks.ledger.pauses import pauses_now
from tasks.ledger.provider_keys import OPEN_KEY, known_keys, set_key
from tasks.ledger.standings import key_standings
from workers.cli.common import (
    console,
    join_running_stack,
    json_option,
    lists,
    opened_context,
    opened_ledger,
    print_json,
    settings,
    table,
    var_option,
)
from workers.cli.exits import INVALID, Failure
from workers.cli.formats import key_state
from workers.cli.params import NO_LIMIT, limit_or_none, pace_or_none
from workers.cli.pause import here, say_pauses
from workers.settings import Settings, read_settings


@click.group(invoke_without_command=True)
@var_option
@json_option()
@click.pass_context
def keys(context: click.Context, *, as_json: bool) -> None:
    """Show provider keys; or `set` a key's limits, `close` it for new tasks, `open` it again (which ends a pause).

    What a key has open is followed to its end, closed or not.
    """
    if not lists(context):
        return
    joined, read = join_running_stack(), read_settings()
    with opened_ledger(read) as ledger, ledger.read() as tx:
        # A running stack has keys of its own, which its environment alone tells.
        configured = sorted(read.provider_keys) or (keys_used(tx) if joined else [])
        found = key_standings(tx, configured, read.policy.open_tasks_per_key, read.policy.uncertain_slot_s)
        stopped = [each for each in pauses_now(tx) if each.scope is Scope.ALL]
    if as_json:
        print_json({"keys": found, "pauses": stopped})
        return
    say_pauses(stopped)
    if not found:
        nothing = "none was used yet, and none has a row"
        todo = f"the running stack has its own, but {nothing}" if joined else f"{nothing}: set REELWORKS_PROVIDER_KEYS"
        click.echo(f"No key is configured here; {todo}.")
        return
    figures = ("open", "limit", "creates a minute")
    shown = table("key", "state", *figures, right=figures)
    for each in found:
        pace = "-" if each.pace_per_minute is None else f"{each.pace_per_minute:.3g}"
        shown.add_row(escape(each.key.alias), escape(key_state(each)), str(each.open_tasks), str(each.open_limit), pace)
    console().print(shown)


@keys.command("set")
@click.argument("alias")
@click.option("--open-limit", callback=limit_or_none, help="Provider tasks it may have open at once, or none.")
@click.option("--creates-per-minute", "pace", callback=pace_or_none, help="How fast it may create, or none.")
@var_option
@json_option()
def set_(alias: str, open_limit: int | str | None, pace: float | str | None, *, as_json: bool) -> None:
    """Set a key's limits. They count from the next turn on; `none` gives back the settings' own."""
    values: dict[str, Any] = {}
    if open_limit is not None:
        values["open_limit"] = None if open_limit == NO_LIMIT else open_limit
    if pace is not None:
        values["creates_per_minute"] = None if pace == NO_LIMIT else pace
    if not values:
        raise click.UsageError("Say what to set: --open-limit, --creates-per-minute.")
    _change(alias, values, as_json=as_json)


@keys.command()
@click.argument("alias")
@var_option
@json_option()
def close(alias: str, *, as_json: bool) -> None:
    """Have a key take nothing new. What it has open is followed to its end. The same as `pause --key`."""
    read = settings()
    with opened_context(read) as ctx:
        _check(ctx.ledger, read, alias)
        pausing.pause(ctx, Scope.KEY, alias, by=here())
        with ctx.ledger.read() as tx:
            (key,) = known_keys(tx, [alias])
    _say(key, as_json=as_json)


@keys.command("open")
@click.argument("alias")
@var_option
@json_option()
def open_(alias: str, *, as_json: bool) -> None:
    """Have a key take tasks again: after `close`, or before a pause has ended."""
    fresh = {**OPEN_KEY, "paused_until": None, "pause_reason": None, "slowed_at": None, "slowed_to": None}
    _change(alias, fresh, as_json=as_json)


def _change(alias: str, values: dict[str, Any], *, as_json: bool) -> None:
    read = settings()
    with opened_ledger(read) as ledger:
        _check(ledger, read, alias)
        with ledger.begin() as tx:
            key = set_key(tx, alias, **values)
    _say(key, as_json=as_json)


def _check(ledger: Ledger, read: Settings, alias: str) -> None:
    with ledger.read() as tx:
        known = {each.key.alias for each in key_standings(tx, sorted(read.provider_keys), 0, 0.0)}
    # Commands often run where no key is configured; but a slip of the pen must not make a key that nobody has.
    if read.provider_keys and alias not in known:
        raise Failure(f"there is no key {alias!r}; there are: {', '.join(sorted(known))}.", INVALID)


def _say(key: ProviderKey, *, as_json: bool) -> None:
    if as_json:
        print_json({"key": key})
    else:
        said = "is closed" if key.closed else "takes tasks"
        limits = (
            f"open limit {key.open_limit or 'as set'}, creates a minute {key.creates_per_minute or 'without limit'}"
        )
        click.echo(f"Key {key.alias} {said}: {limits}.")
