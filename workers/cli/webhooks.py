"""`webhooks`: what callers were told and what became of it; has messages sent again; shows and renews secrets."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import click
from rich.markup import escape

from tasks.ledger.deliveries import Delivery, Fate, replay
from tasks.ledger.delivery_reports import Receiver, failing_receivers, page_of
from tasks.ledger.webhook_secrets import WebhookSecret, make_first, rotate, secrets_of
from workers.cli.common import console, json_option, lists, opened_ledger, print_json, settings, table, var_option
from workers.cli.exits import FAILED, Failure
from workers.cli.formats import instant
from workers.cli.params import Finite, checked_tenant

_HOURS: Final = Finite(min=0, max=720)
_RECEIVERS: Final = 20
_AT_ONCE: Final = 500


@click.group(invoke_without_command=True)
@click.option("--state", type=click.Choice([each.value for each in Fate]), help="Only those of which this became.")
@click.option("--tenant", callback=checked_tenant, help="Only this tenant's.")
@click.option("--job", "job_id", metavar="ID", help="Only this job's.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most.")
@var_option
@json_option()
@click.pass_context
def webhooks(
    context: click.Context, state: str | None, tenant: str | None, job_id: str | None, limit: int, *, as_json: bool
) -> None:
    """List webhooks and the receivers that fail; replay messages, show and rotate secrets."""
    if not lists(context):
        return
    fate = None if state is None else Fate(state)
    with opened_ledger(settings()) as ledger, ledger.read() as tx:
        found = page_of(tx, tenant=tenant, fate=fate, job_id=job_id, limit=limit + 1)
        failing = failing_receivers(tx, _RECEIVERS, tenant)
    rows, more = found[:limit], len(found) > limit
    if as_json:
        print_json({"webhooks": [_row(each) for each in rows], "failing_receivers": failing, "more": more})
    else:
        _print(rows, failing, more=more)


def _row(message: Delivery) -> dict[str, Any]:
    shown = {name: value for name, value in asdict(message).items() if name != "url"}  # it may hold a secret
    return {**shown, "state": message.fate}


def _print(rows: list[Delivery], failing: list[Receiver], *, more: bool) -> None:
    if not rows:
        click.echo("There are no such webhooks.")
    else:
        shown = table("webhook", "job", "event", "at", "state", "tries", "next try", "last error", right=("tries",))
        for each in rows:
            due = "" if each.due_at is None else instant(each.due_at)
            cells = (each.id, each.job_id, each.event, instant(each.at), each.fate, str(each.tries), due)
            shown.add_row(*cells, escape(each.last_error or ""))
        console().print(shown)
    if more:
        click.echo(f"There are more than these {len(rows)}: use --limit.")
    if failing:
        away = table("failing receiver", "failures", "left alone until", right=("failures",))
        for one in failing:
            until = "" if one.paused_until is None else instant(one.paused_until)
            away.add_row(escape(one.name), str(one.failures), until)
        console().print(away)


@webhooks.command("replay")
@click.argument("ids", metavar="[WEBHOOK]...", nargs=-1)
@click.option("--dead", is_flag=True, help="All that are dead.")
@click.option("--tenant", callback=checked_tenant, help="Only this tenant's.")
@var_option
@json_option()
def replay_(ids: tuple[str, ...], tenant: str | None, *, dead: bool, as_json: bool) -> None:
    """Have messages sent (again) from now on, and their receivers tried at once."""
    if bool(ids) == dead:
        raise click.UsageError("Name messages, or give --dead.")
    sent = 0
    with opened_ledger(settings()) as ledger:
        while True:
            with ledger.begin() as tx:
                chosen = list(ids) or [each.id for each in page_of(tx, tenant=tenant, fate=Fate.DEAD, limit=_AT_ONCE)]
                sent += replay(tx, chosen, tenant)
            if ids or len(chosen) < _AT_ONCE:
                break
    if ids and sent < len(set(ids)):
        todo = "give the whole id of each, as `python -m workers webhooks` lists it"
        raise Failure(f"{len(set(ids)) - sent} of {len(set(ids))} not known, {sent} due now: {todo}.", FAILED)
    if as_json:
        print_json({"due": sent})
    else:
        click.echo(f"{sent} due now.")


@webhooks.command()
@click.option("--tenant", required=True, callback=checked_tenant)
@var_option
@json_option()
def secrets(tenant: str, *, as_json: bool) -> None:
    """Show what a tenant's webhooks are signed with, for its receivers. The first one is made at the first need."""
    with opened_ledger(settings()) as ledger, ledger.begin() as tx:
        found = secrets_of(tx, tenant) or make_first(tx, tenant)
    _tell(found, as_json=as_json)


@webhooks.command("rotate")
@click.option("--tenant", required=True, callback=checked_tenant)
@click.option("--overlap-hours", type=_HOURS, default=24.0, show_default=True, help="So long the old one still signs.")
@var_option
@json_option()
def rotate_(tenant: str, overlap_hours: float, *, as_json: bool) -> None:
    """Make a new secret; the one before goes on signing for a while, so that receivers have time to learn it."""
    with opened_ledger(settings()) as ledger, ledger.begin() as tx:
        found = rotate(tx, tenant, overlap_hours * 3600)
    _tell(found, as_json=as_json)


def _tell(found: list[WebhookSecret], *, as_json: bool) -> None:
    if as_json:
        print_json({"secrets": [asdict(each) for each in found]})
        return
    for each in found:
        until = "" if each.ends_at is None else f"  (until {instant(each.ends_at)})"
        click.echo(f"{each.text}{until}")
