"""`python -m tests.watch panels` and `python -m tests.watch alerts`: Prometheus itself, over stacks that really run.

`panels`: one stack under load; every query of every dashboard has to give data, and no alert may fire. `alerts`: every
alert's trouble is made, and has to make it fire, and be gone once it is mended. Exit code 0 only when all of it held;
else a run's folder is kept.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import click

from tests.bench.machine import facts
from tests.watch.faults import Place
from tests.watch.load import Loaded, loaded
from tests.watch.panels import all_asked, without_data
from tests.watch.places import places
from tests.watch.rules import Rule, read_rules
from tests.watch.table import duration, table, with_table
from tests.watch.watching import Patience, Seen, watch
from workers.embedded import interruptible
from workers.logs import configure_logs

ROOT = Path(__file__).resolve().parents[2]
_LEAST_SHARE = 0.9
"""Of the rate that was asked for, so much has to have come to an end in the last minute."""


@click.group()
def main() -> None:
    """Dashboards and alerts over stacks that really run."""


@main.command()
@click.option("--minutes", type=click.FloatRange(min=1), default=5.0, show_default=True)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), default=20.0, show_default=True, help="Jobs/s.")
def panels(*, minutes: float, rate: float) -> None:
    """A stack under load: every panel has data, and no alert fires."""
    folder, say = _folder("panels"), _sayer()
    with interruptible(), loaded(folder, rate) as running:
        say(f"the stack is up in {folder}: {rate:g} jobs a second for {minutes:g} minutes")
        ends_at = time.monotonic() + minutes * 60
        while time.monotonic() < ends_at:
            time.sleep(min(30.0, max(0.0, ends_at - time.monotonic())))
            running.stack.check()
            say(_progress(running))
        asked = all_asked()
        empty = without_data(asked, running.prometheus.has_data)
        ended = running.prometheus.number("sum(max by (state, model) (rate(reelworks_jobs_ended_total[1m])))")
        firing = sorted(name for name, _ in running.prometheus.firing())
        submitted = running.load.submitted
    problems = [f"no data: {each.name}" for each in empty]
    problems += [f"fires under load: {name}" for name in firing]
    if ended < _LEAST_SHARE * rate:
        problems.append(f"{ended:.1f} jobs a second came to an end, of {rate:g}")
    click.echo(
        f"panels: queries={len(asked)} with_data={len(asked) - len(empty)} jobs={submitted} "
        f"ended_per_s={ended:.1f} firing={len(firing)} commit={facts()['commit']}"
    )
    _close(problems, folder)


@main.command()
@click.option("--short", "short_s", type=click.FloatRange(min=10), default=60.0, show_default=True, help="Seconds.")
@click.option("--hold", "hold_s", type=click.FloatRange(min=0), default=330.0, show_default=True, help="Seconds.")
@click.option("--only", default="", help="Places or alerts, by commas.")
@click.option("--at-once", type=click.IntRange(1), default=6, show_default=True, help="Stacks side by side.")
@click.option(
    "--table", "page", type=click.Path(dir_okay=False, path_type=Path), help="A page whose table becomes this one."
)
def alerts(*, short_s: float, hold_s: float, only: str, at_once: int, page: Path | None) -> None:
    """Every alert is made to fire: as it stands if that takes no longer than HOLD, and shortened to SHORT."""
    folder, say = _folder("alerts"), _sayer()
    rules, patience = read_rules(), Patience(short_s, hold_s)
    chosen = _chosen(places(_slow_s(rules["ReelworksProviderSlow"], patience)), only)
    begun = time.monotonic()
    with interruptible(), ThreadPoolExecutor(at_once) as threads:
        runs = [threads.submit(_tried, place, folder / place.name, rules, patience, say) for place in chosen]
        results = [each.result() for each in runs]
    seen = [each for found, _ in results for each in found]
    problems = [problem for _, problem in results if problem]
    problems += [f"{each.rule.name}: {each.trouble}" for each in seen if each.trouble]
    order = list(rules)
    shown = table(sorted(seen, key=lambda each: order.index(each.rule.name)))
    click.echo(shown)
    if page is not None:
        page.write_text(with_table(page.read_text() if page.exists() else "", shown))
    click.echo(
        f"alerts: seen={sum(not each.trouble for each in seen)} of {len(rules)}, as they stand "
        f"{sum(each.stands_s is not None for each in seen)}, in {duration(time.monotonic() - begun)}, "
        f"commit={facts()['commit']}"
    )
    _close(problems, folder)


def _tried(
    place: Place, folder: Path, rules: dict[str, Rule], patience: Patience, say: Callable[[str], None]
) -> tuple[list[Seen], str]:
    """What was seen in a place, or why nothing was: one place that breaks does not end the others."""
    try:
        return watch(place, folder, rules, patience, say), ""
    except Exception as error:  # noqa: BLE001 (it is told at the end, with all others)
        say(f"{place.name}: {error!r}")
        return [], f"{place.name}: {error!r}"


def _slow_s(rule: Rule, patience: Patience) -> float:
    """Above how many seconds a create is slow, in all forms of the rule that are waited for."""
    return rule.threshold_s if patience.stands(rule) else rule.threshold_s / patience.factor(rule)


def _chosen(all_places: Sequence[Place], only: str) -> list[Place]:
    names = {name.strip() for name in only.split(",") if name.strip()}
    found = []
    for place in all_places:
        faults = tuple(
            each for each in place.faults if not names or place.name in names or names.intersection(each.alerts)
        )
        if faults:
            found.append(replace(place, faults=faults))
    if not found:
        raise click.UsageError(f"no place and no alert is named {only}")
    return found


def _progress(running: Loaded) -> str:
    states = running.prometheus.numbers("max by (state) (reelworks_jobs) > 0", "state")
    under_way = ", ".join(f"{number:.0f} {state}" for state, number in sorted(states.items()))
    return f"{running.load.submitted} submitted, {running.load.refused} refused: {under_way}"


def _folder(name: str) -> Path:
    return ROOT / "var" / "watch" / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"


def _sayer() -> Callable[[str], None]:
    configure_logs("ERROR", "console")  # ours is the account of the run
    begun = time.monotonic()
    return lambda text: click.echo(f"{time.monotonic() - begun:6.1f} s  {text}", err=True)


def _close(problems: Sequence[str], folder: Path) -> None:
    for problem in problems:
        click.echo(problem)
    if problems:
        click.echo(f"all of it stands in {folder}")
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
