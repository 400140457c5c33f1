"""`python -m tests.chaos run` and `python -m tests.chaos soak`: break everything on purpose, and say what it cost.

Exit code 0 only when every promise held. The last line is the result; on a failure the lines before it say which job
broke which promise, with its timeline and attempts, and the run's folder is kept.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from tests.chaos import soak
from tests.chaos.account import Breach
from tests.chaos.books import story
from tests.chaos.plan import Scale, make_plan
from tests.chaos.run import APP, Outcome, run
from tests.chaos.stage import DATABASES
from workers.embedded import interruptible
from workers.logs import configure_logs

ROOT = Path(__file__).resolve().parents[2]
_SHOWN = 10
_DRAIN_S = 180.0


@click.group()
def main() -> None:
    """Chaos and soak runs."""


@main.command("run")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed is the same plan.")
@click.option("--jobs", type=click.IntRange(60), default=1000, show_default=True)
@click.option("--database", type=click.Choice(DATABASES), default="sqlite", show_default=True)
@click.option("--minutes", type=float, default=6.0, show_default=True, help="The most that a run takes once it is up.")
@click.option("--app", default=APP, show_default=True, help="The Celery application of the workers.")
@click.option("--keep", is_flag=True, help="Keep the run's folder in any case.")
def run_command(*, seed: int, jobs: int, database: str, minutes: float, app: str, keep: bool) -> None:
    """Jobs through every door, a death at every failpoint, wiped and restarted Redis: then compare with the bill."""
    folder = _folder(f"{seed}-{database}")
    # Jobs need their time after the last blow; the rest is for blows.
    window_s = max(60.0, minutes * 60 * 0.68)
    plan = make_plan(seed, Scale.full(jobs, window_s))
    with interruptible():
        outcome = run(plan, folder, database=database, within_s=minutes * 60 - 5, app=app, say=_sayer())
    _close(outcome, folder, keep=keep)


@main.command("soak")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), default=0.5, show_default=True)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), default=20.0, show_default=True, help="Jobs/s.")
@click.option("--database", type=click.Choice(DATABASES), default="sqlite", show_default=True)
@click.option("--keep", is_flag=True, help="Keep the run's folder in any case.")
def soak_command(*, seed: int, hours: float, rate: float, database: str, keep: bool) -> None:
    """A steady rate of jobs with kills going on: nothing lost, and memory is flat."""
    folder = _folder(f"soak-{seed}-{database}")
    plan = soak.soak_plan(seed, hours, rate)
    # Once a minute; more often where there would be too few samples to draw a line through.
    minutes = soak.Minutes(click.echo, every_s=min(60.0, plan.scale.window_s / 12))
    # What Redis keeps to be looked at would grow for a week; kept for minutes, it is level after as many.
    keep_s = max(60, min(300, int(hours * 600)))
    within_s = plan.scale.window_s + _DRAIN_S
    with interruptible():
        outcome = run(plan, folder, database=database, within_s=within_s, say=_sayer(), keep_s=keep_s, watch=minutes)
    growth = soak.growth_mb(minutes.samples)
    figures = ", ".join(f"{name} {more:+.1f} of {size:.0f} MB" for name, (size, more) in growth.items())
    click.echo(f"soak: growth over the second half (at most {soak.GROWTH_BOUND:.0%} each): {figures or 'not measured'}")
    sentences = soak.grown(growth) if growth else ["it was not measured: the run ended too early"]
    breaches = [Breach("memory", "", sentence) for sentence in sentences]
    _close(replace(outcome, breaches=(*outcome.breaches, *breaches)), folder, keep=keep)


def _folder(name: str) -> Path:
    return ROOT / "var" / "chaos" / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"


def _sayer() -> Callable[[str], None]:
    configure_logs("ERROR", "console")  # ours is the account of the run
    begun_at = time.monotonic()
    return lambda text: click.echo(f"{time.monotonic() - begun_at:6.1f} s  {text}", err=True)


def _close(outcome: Outcome, folder: Path, *, keep: bool) -> None:
    show(outcome, folder)
    if outcome.well and not keep:
        shutil.rmtree(folder)
    click.echo(outcome.closing_line())
    sys.exit(0 if outcome.well else 1)


def show(outcome: Outcome, folder: Path) -> None:
    """What the figures are made of, and which job broke which promise, with its story."""
    result = outcome.result
    in_flight = result.uncertain - result.scripted
    click.echo(
        f"uncertain: {result.scripted} by script, {in_flight} whose create was in flight when its worker suffered; "
        f"rescue: {result.rescues} times that work was due when harm was done"
    )
    click.echo(outcome.turns.line())
    click.echo(outcome.webhooks.line())
    for breach in outcome.breaches[:_SHOWN]:
        click.echo(f"{breach.promise}: job {breach.job_id or '-'}: {breach.sentence}")
        for line in story(outcome.books, breach.job_id) if breach.job_id else ():
            click.echo(f"    {line}")
    if len(outcome.breaches) > _SHOWN:
        click.echo(f"and {len(outcome.breaches) - _SHOWN} more")
    if not outcome.well:
        lines = [f"{done.at.isoformat()} {done.until.isoformat()} {done.what}" for done in outcome.harm]
        lines += [f"{breach.promise}: {breach.job_id}: {breach.sentence}" for breach in outcome.breaches]
        (folder / "breaches.txt").write_text("\n".join(lines) + "\n")
        click.echo(f"all of it stands in {folder}")


if __name__ == "__main__":
    main()
