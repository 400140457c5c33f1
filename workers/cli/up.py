"""`up`: the embedded stack in the foreground, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import click

from workers.cli.common import console, json_option, print_json, table, var_folder, var_option
from workers.cli.exits import UNCONFIGURED, Failure
from workers.cli.params import SPEED
from workers.embedded import EmbeddedStack, StackOptions
from workers.pools import PoolSizes


@click.command()
@click.option("--provider", type=click.Choice(["simulator", "vtrix"]), default="simulator", show_default=True)
@click.option("--speed", type=SPEED, default=30.0, show_default=True, help="Simulator: its time factor.")
@click.option("--seed", type=int, default=7, show_default=True, help="Simulator: the same seed, the same latencies.")
@click.option(
    "--scenario",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Simulator: a file of faults to play.",
)
@click.option("--flower/--no-flower", default=True, show_default=True)
@click.option("--gateway/--no-gateway", default=True, show_default=True)
@click.option("--callbacks", is_flag=True, help="Simulator: it is asked to call the gateway back.")
@var_option
@json_option("Print one line with every address and path, once all of it answers.")
def up(
    provider: Literal["simulator", "vtrix"],
    speed: float,
    seed: int,
    scenario: Path | None,
    *,
    flower: bool,
    gateway: bool,
    callbacks: bool,
    as_json: bool,
) -> None:
    """Run the whole stack on this machine until Ctrl-C or SIGTERM, which end it with exit code 0.

    Redis, the database, the store and the provider are its own, unless the environment names others
    (REELWORKS_REDIS_URL, REELWORKS_DATABASE_URL, REELWORKS_STORE, REELWORKS_PROVIDER_URL).
    """
    stack = EmbeddedStack(
        StackOptions(
            var=var_folder(),
            provider=provider,
            speed=speed,
            seed=seed,
            scenario=scenario,
            flower=flower,
            gateway=gateway,
            callbacks=callbacks and provider == "simulator",
            pool_sizes=pool_sizes(),
        )
    )

    def say_where() -> None:
        if as_json:
            print_json(stack.addresses)
            return
        rows = table("", "")
        rows.show_header = False
        for name, place in stack.addresses.items():
            if name != "pids" and place is not None:
                rows.add_row(name.replace("_", " "), str(place))
        console().print(rows)
        click.echo("Everything answers. Ctrl-C stops all of it.")

    stack.run_forever(say_where)


def pool_sizes() -> PoolSizes:
    """The sizes of the worker pools as the environment wishes them."""
    try:
        return PoolSizes.read(os.environ)
    except ValueError as error:
        raise Failure(f"{error}.", UNCONFIGURED) from None
