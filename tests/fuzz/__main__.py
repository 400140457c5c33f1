"""`make fuzz`: the full numbers, a table of what was seen, one line, and a file for each broken rule."""

from __future__ import annotations

import secrets
import sys
import time
from pathlib import Path

import click

from tests.fuzz.run import OUTCOMES, Run, replay, run, shrunk, summary

ENOUGH = 2_000
"""So many cases reach every outcome, unless the generator has lost its way."""


@click.command()
@click.option("--answers", default=100_000, show_default=True, help="How many replies of the provider.")
@click.option("--requests", default=20_000, show_default=True, help="How many requests.")
@click.option("--seed", type=int, default=None, help="The same seed gives the same cases. [default: a random one]")
@click.option("--save", type=click.Path(path_type=Path), default=Path("var/fuzz"), show_default=True)
@click.option("--replay", "saved", type=click.Path(exists=True, path_type=Path), help="A saved input; runs only that.")
def main(answers: int, requests: int, seed: int | None, save: Path, saved: Path | None) -> None:
    """Put random input, much of it wrong on purpose, to what reads answers and requests."""
    if saved is not None:
        click.echo(f"{saved}: {replay(saved)}")
        return
    seed = secrets.randbelow(2**31) if seed is None else seed
    begun_s = time.monotonic()
    runs = {"answer": run("answer", answers, seed), "request": run("request", requests, seed)}
    for result in runs.values():
        for name, count in sorted(result.seen.items()):
            click.echo(f"  {count:>7}  {name}")
    for finding in (each for result in runs.values() for each in result.findings.values()):
        click.echo(f"  {finding.kind}: {finding.reason}: {shrunk(finding).save(save)}")
    missed = [name for subject, result in runs.items() for name in _missed(subject, result)]
    if missed:
        click.echo(f"  never seen: {', '.join(missed)}")
    click.echo(
        f"{summary(*runs.values(), seed)} took_s={time.monotonic() - begun_s:.0f} cpu_s={time.process_time():.0f}"
    )
    sys.exit(1 if missed or any(result.broken for result in runs.values()) else 0)


def _missed(subject: str, result: Run) -> list[str]:
    return sorted(OUTCOMES[subject] - set(result.seen)) if result.cases >= ENOUGH else []


if __name__ == "__main__":
    main()
