"""Runs a demo: starts a stack, submits through the producer as any service would, and waits in front of a board."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import requests
from rich.console import Console

from schemas.images import data_url
from schemas.models import MODELS
from schemas.producer import Producer
from tasks.ledger import reports
from tasks.ledger.provider_keys import PausedKeys
from workers.cli.board import Board
from workers.cli.request import checked
from workers.cli.waiting import wait_for
from workers.demo.closing import Outcome, shown_path
from workers.demo.picture import paint
from workers.demo.plan import DemoOptions, new_folder, not_the_demos, point_latest, stack_environment
from workers.demo.watchdog import GaveUp, Watchdog
from workers.embedded import EmbeddedStack, ProviderKeyMissing, StackOptions, interruptible
from workers.pools import PoolSizes
from workers.runtime import open_ledger
from workers.settings import Settings, read_settings
from workers.stackplan import KEY_VARIABLES

_BILL_TIMEOUT_S = 10.0


def run(options: DemoOptions, var: Path, out: Console, env: Mapping[str, str]) -> Outcome:
    """Run a demo in a new folder under `var`, and stop everything again, whatever happens.

    Raises `RequestInvalid` and `ProviderKeyMissing` before anything is started, `SupervisorError` when the stack can't
    run.
    """
    if options.provider == "vtrix" and not any(env.get(name) for name in KEY_VARIABLES):
        raise ProviderKeyMissing("set VTRIX_API_KEY to the key of the provider, or choose the simulator")
    picture = paint() if options.image is None else None
    request = _request(options, picture)
    folder = new_folder(var / "demo", datetime.now().astimezone())
    if picture is not None:
        (folder / "picture.jpg").write_bytes(picture)
    stack_options = StackOptions(
        var=folder,
        speed=options.speed,
        provider=options.provider,
        pool_sizes=PoolSizes.read(env),
        env=stack_environment(env, options),
    )
    with interruptible():
        out.print(f"Starting the stack in {shown_path(folder)} (Ctrl-C stops everything)")
        try:
            with EmbeddedStack(stack_options) as stack:
                point_latest(folder)
                outcome = _show(stack, request, options, out)
        except KeyboardInterrupt:
            out.print(f"What was begun is kept: {_go_on(options, folder)} goes on with it.", soft_wrap=True)
            raise
    if outcome.gave_up:
        out.print(f"The jobs are kept: {_go_on(options, folder)} goes on with them.", soft_wrap=True)
    return outcome


def _show(stack: EmbeddedStack, request: Mapping[str, Any], options: DemoOptions, out: Console) -> Outcome:
    where = stack.addresses
    out.print(f"Flower shows the work: {where['flower_url']} (login {where['flower_login']})", soft_wrap=True)
    try:
        outcome = _generate(stack, request, options, out)
    except KeyboardInterrupt:
        out.print("Stopping the stack (Ctrl-C again ends it at once)")
        raise
    out.print("Stopping the stack")
    return outcome


def _go_on(options: DemoOptions, folder: Path) -> str:
    return f"`python -m workers up --provider {options.provider} --var {shown_path(folder)}`"


def _request(options: DemoOptions, picture: bytes | None) -> dict[str, Any]:
    """The fields of each job's request, judged before anything is started. Raises `RequestInvalid`."""
    given = {
        "model": next(iter(MODELS)),
        "first_frame_image": options.image if picture is None else data_url(picture),
        "prompt": options.prompt,
        "resolution": options.resolution,
        "duration": options.duration,
        "tenant": "demo",
    }
    return checked(given)[0]


def _generate(stack: EmbeddedStack, request: Mapping[str, Any], options: DemoOptions, out: Console) -> Outcome:
    for name in not_the_demos(options):
        os.environ.pop(name, None)
    os.environ.update(stack.environment)
    read = read_settings()
    where = stack.addresses
    with (
        Producer(read.redis_url) as producer,
        contextlib.closing(open_ledger(read)) as ledger,
    ):
        out.print(f"Submitting {options.jobs} of {request['resolution']}, {request['duration']} s")
        handles = [producer.submit(**request) for _ in range(options.jobs)]
        for warning in handles[0].warnings:
            out.print(f"Note: {warning.field}: {warning.message}", markup=False)
        board = Board(handles)
        aliases, logs = sorted(read.provider_keys), Path(str(where["logs"]))
        watchdog = Watchdog(board, PausedKeys(ledger), aliases, patience_s=options.patience_s, logs=logs)

        def each_turn() -> None:
            stack.check()
            watchdog.look()

        gave_up = None
        try:
            wait_for(board, out, each_turn)
        except GaveUp as reason:
            gave_up = str(reason)
        with ledger.read() as tx:
            charged_usd = reports.charged_usd(tx, [handle.id for handle in handles])
        simulated = where["bill"] is not None
        billed_usd = _billed_usd(read) if simulated else None
        return Outcome(tuple(board.standings), charged_usd, billed_usd, simulated, Path(str(where["store"])), gave_up)


def _billed_usd(read: Settings) -> Decimal | None:
    """The sum of the simulator's own bill, asked of it; `None` when it can't be had."""
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{read.provider_url}/admin/bill", timeout=_BILL_TIMEOUT_S)
            answer.raise_for_status()
            return Decimal(answer.json()["billed_usd"])
    except (requests.RequestException, KeyError, TypeError, InvalidOperation):
        return None
