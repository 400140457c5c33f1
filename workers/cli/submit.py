"""`submit`: asks for one film, exactly as another service would, through the producer."""

from __future__ import annotations

from typing import Any

import click

from schemas.errors import WaitTimeout
from schemas.handle import Handle
from schemas.jobs import State
from schemas.models import MODELS
from schemas.producer import Producer
from workers.cli.board import Board
from workers.cli.common import console, json_option, print_json, settings, var_option
from workers.cli.exits import FAILED
from workers.cli.params import Lasting
from workers.cli.request import checked, metadata_of
from workers.cli.waiting import deadline, wait_for

_DEFAULT_MODEL = next(iter(MODELS))


@click.command()
@click.option("--model", default=_DEFAULT_MODEL, show_default=True, help=f"One of {', '.join(MODELS)}.")
@click.option(
    "--image",
    "first_frame_image",
    metavar="PATH|URL",
    help="The first frame; none where a film is made of a text alone.",
)
@click.option("--last-image", "last_frame_image", metavar="PATH|URL", help="The last frame: start-end generation.")
@click.option("--prompt", help="What happens, with camera instructions such as [pan left].")
@click.option(
    "--prompt-file", type=click.File(encoding="utf-8"), help="Read the prompt from a file; - is standard input."
)
@click.option("--prompt-optimizer/--no-prompt-optimizer", default=None, help="Let the provider improve the prompt.")
@click.option(
    "--fast-pretreatment/--no-fast-pretreatment", default=None, help="Have that done in less time, by models that can."
)
@click.option("--duration", type=int, help="Seconds. Default: the model's.")
@click.option("--resolution", help="Such as 768P. Default: the model's.")
@click.option("--callback-url", help="Where to tell what becomes of it, signed (python -m workers webhooks).")
@click.option("--aigc-watermark/--no-aigc-watermark", default=None, help="Mark the film as generated.")
@click.option("--tenant", help="Whose job it is.")
@click.option("--idempotency-key", help="The same key is the same job, however often it is submitted.")
@click.option("--metadata", metavar="JSON", help="A JSON object that is handed back with the job.")
@click.option("--priority", type=int, help="From -100 to 100; higher goes first.")
@click.option("--deadline-s", type=int, help="Seconds from now after which nobody wants the film any more.")
@click.option("--max-cost-usd", metavar="USD", help="Fail it, unsent, if it would cost more than so much.")
@click.option("--wait", is_flag=True, help="Wait until the job has ended; exit code 1 if it did not complete.")
@click.option("--timeout", type=Lasting(), help="With --wait: at most so long, such as 10m.")
@var_option
@json_option()
def submit(*, wait: bool, timeout: float | None, as_json: bool, **fields: Any) -> None:
    """Ask for one film. Prints the job's id."""
    prompt_file = fields.pop("prompt_file")
    if prompt_file is not None:
        if fields["prompt"] is not None:
            raise click.UsageError("give --prompt or --prompt-file, not both")
        fields["prompt"] = prompt_file.read().strip()
    fields["metadata"] = metadata_of(fields["metadata"])
    ready, _ = checked(fields)
    with Producer(settings().redis_url) as producer:
        handle = producer.submit(**ready)
        for warning in handle.warnings:
            click.echo(f"Warning: {warning.field}: {warning.message} [{warning.code}]", err=True)
        if wait:
            _wait(handle, timeout, as_json=as_json)
        elif as_json:
            print_json({"job_id": handle.id, "warnings": handle.warnings})
        else:
            click.echo(handle.id)


def _wait(handle: Handle, timeout: float | None, *, as_json: bool) -> None:
    out = console(stderr=as_json)
    if not as_json:
        click.echo(handle.id)
    board = Board([handle])
    try:
        wait_for(board, out, deadline(timeout, board))
    except WaitTimeout:
        if as_json:
            print_json({"warnings": handle.warnings, **board.standings[0].as_json()})
        raise
    standing = board.standings[0]
    if as_json:
        print_json({"warnings": handle.warnings, **standing.as_json()})
    if standing.state is not State.COMPLETED:
        raise click.exceptions.Exit(FAILED)
