"""`backup` and `restore`: the SQLite ledger copied while workers write, and put back so that nothing is paid for twice.

For PostgreSQL, which has tools of its own for copies, `restore --after-the-fact` does what has to follow.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from schemas.jobs import State
from tasks import restoring
from tasks.durably import publish
from tasks.lanes import LANES
from tasks.ledger import copies
from tasks.ledger.copies import Figures
from workers.cli.common import json_option, opened_ledger, print_json, settings, sqlite_path, var_folder, var_option
from workers.cli.exits import INVALID, Failure
from workers.cli.formats import duration, instant, size, usd
from workers.folderlock import LOCK_NAME, FolderLock, make_private
from workers.logs import configure_logs
from workers.runtime import open_ledger, open_pulse
from workers.settings import Settings

_FILE: Final = click.Path(path_type=Path)
_PAGE: Final = "ops/runbooks/ledger-restored.md"


@click.command()
@click.argument("dest", metavar="DEST", type=click.Path())
@click.option("--overwrite", is_flag=True, help="Replace DEST if it is there.")
@var_option
@json_option()
def backup(dest: str, *, overwrite: bool, as_json: bool) -> None:
    """Copy the SQLite ledger to DEST while workers write: a file, or a folder, where the copy is named by the time.

    The copy is of one moment. It is checked before it has its name; films, pictures and the spool are not in it.
    """
    with opened_ledger(settings()) as ledger:
        source = sqlite_path(ledger)
        if source is None:
            file = Path(dest, "ledger.dump") if Path(dest).is_dir() else dest
            raise Failure(
                "the ledger is in PostgreSQL, whose pg_dump copies it while workers write:"
                f" `pg_dump --format=custom --file={file} ...`. {_PAGE} says how, and how to put it back.",
                INVALID,
            )
        final = _named(dest, source, overwrite=overwrite)
        part = final.with_name(f"{final.name}.part")
        try:
            found = _copied(source, part)
            publish(part, final)
        finally:
            copies.discard(part)
    figures: dict[str, Any] = {"file": final, "size_bytes": final.stat().st_size, **asdict(found)}
    if as_json:
        print_json(figures)
        return
    click.echo(f"Copied to {final} ({size(figures['size_bytes'])}), and checked.")
    click.echo(_sentence(found))


def _named(text: str, source: Path, *, overwrite: bool) -> Path:
    """Where the copy goes. Raises Failure where something is there, or must not be."""
    dest = Path(text)
    if text.endswith(("/", os.sep)) and not dest.is_dir():
        raise Failure(f"there is no folder {dest}: make it, or name another place.", INVALID)
    final = dest / f"ledger-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.db" if dest.is_dir() else dest
    if not final.parent.is_dir():
        raise Failure(f"there is no folder {final.parent}: make it, or name another place.", INVALID)
    if final.resolve() in (source.resolve(), *copies.beside(source.resolve())):
        raise Failure(f"{final} is the ledger itself: name another file.", INVALID)
    if final.exists() and not overwrite:
        raise Failure(f"{final} is there already: name another file, or say --overwrite.", INVALID)
    return final


def _copied(source: Path, part: Path, *, upgraded: bool = False) -> Figures:
    """A copy in a part, whole and checked."""
    copies.make(source, part)
    copies.judge(part)
    with copies.opened(part, upgraded=upgraded) as copied, copied.read() as tx:
        found = copies.figures(tx)
    copies.settle(part)
    return found


@click.command()
@click.argument("src", metavar="[SRC]", required=False, type=_FILE)
@click.option(
    "--after-the-fact",
    is_flag=True,
    help="The database was put back by other means, pg_restore for instance: hold what may have been created since.",
)
@click.option(
    "--trust-queued",
    is_flag=True,
    help="Hold nothing: no worker has run since the copy was taken. If one has, films are paid for twice.",
)
@var_option
@json_option()
def restore(src: Path | None, *, after_the_fact: bool, trust_queued: bool, as_json: bool) -> None:
    """Put SRC, which `backup` made, in the place of the SQLite ledger, and hold what may have been created since.

    All that works with the ledger has to be stopped. Jobs that were queued, admitted, creating or uncertain when the
    copy was taken may have been created, and paid for, since: they become uncertain, and are not created unless
    somebody says so. The replaced ledger is kept beside the new one.
    """
    if after_the_fact == (src is not None):
        raise click.UsageError("Name a SRC, or say --after-the-fact for a database that is in its place already.")
    if after_the_fact and trust_queued:
        raise click.UsageError("--after-the-fact holds what --trust-queued would not.")
    configure_logs("WARNING", "console")
    read = settings()
    with _nobody_works(read):
        done = _hold_in_place(read) if src is None else _replace(read, src, trust_queued=trust_queued)
    if as_json:
        print_json(done)
    else:
        _say(done, trust_queued=trust_queued)


@contextlib.contextmanager
def _nobody_works(read: Settings) -> Iterator[None]:
    """Raise `LedgerInUse`, `FolderInUse` or Failure while something works with the ledger; keep a stack from it."""
    ledger = open_ledger(read)
    path = sqlite_path(ledger)
    ledger.close()
    if path is None:
        with contextlib.closing(open_pulse(read)) as pulse:
            living = pulse.lanes.living(list(LANES))
        if living:
            raise Failure(
                f"workers run (the lane {living[0]} is alive): stop all of them first, and the gateway."
                " What they do meanwhile may be paid for twice."
            )
        yield
        return
    lock = FolderLock(var_folder() / LOCK_NAME)
    lock.acquire(wait_s=0)
    try:
        if path.exists():
            with copies.alone_with(path):
                pass  # said before anything is copied; the exchange looks again
        yield
    finally:
        lock.release()


@dataclass(frozen=True, slots=True)
class _Restored:
    """What was done. `held`: jobs by the state that they were in; `replaced`: where the ledger before is kept."""

    ledger: Figures
    held: Mapping[State, int]
    at: datetime
    replaced: Path | None = None


def _replace(read: Settings, src: Path, *, trust_queued: bool) -> _Restored:
    """Put a copy of `src` in the ledger's place, made safe before it is there."""
    ledger = open_ledger(read)
    final = sqlite_path(ledger)
    ledger.close()
    if final is None:
        raise Failure(
            "the ledger is in PostgreSQL: put the copy back with pg_restore, and then, before any worker runs, say"
            f" `python -m workers restore --after-the-fact`. {_PAGE} says how.",
            INVALID,
        )
    if not src.is_file():
        raise Failure(f"there is no file {src}: name a copy that `python -m workers backup` made.", INVALID)
    now = datetime.now(UTC)
    make_private(final.parent)
    part = final.with_name(f"{final.name}.part")
    aside = final.with_name(f"{final.name}.replaced-{now:%Y%m%dT%H%M%SZ}")
    try:
        found = _copied(src, part, upgraded=True)
        held: Mapping[State, int] = {}
        if not trust_queued:
            with copies.opened(part) as copied:
                held = restoring.hold(copied, found.known_until)
            copies.settle(part)
        had_one = final.exists()
        copies.exchange(part, final, aside)
    finally:
        copies.discard(part)
    return _Restored(found, held, now, aside if had_one else None)


def _hold_in_place(read: Settings) -> _Restored:
    with opened_ledger(read) as ledger:
        with ledger.read() as tx:
            found, now = copies.figures(tx), tx.now
        return _Restored(found, restoring.hold(ledger, found.known_until), now)


def _sentence(found: Figures) -> str:
    return (
        f"It holds jobs {_counted(found.jobs)}; charges {found.charges}, {usd(found.charged_usd)};"
        f" the last change that it knows of is of {instant(found.known_until)}."
    )


def _counted(states: Mapping[State, int]) -> str:
    each = ", ".join(f"{state} {number}" for state, number in states.items())
    return f"{sum(states.values())} ({each})" if each else "0"


def _say(done: _Restored, *, trust_queued: bool) -> None:
    if done.replaced is not None:
        click.echo(f"Restored. The ledger that was there is kept at {done.replaced}.")
    click.echo(_sentence(done.ledger))
    if done.ledger.known_until is not None:
        missing_s = (done.at - done.ledger.known_until).total_seconds()
        click.echo(f"Nothing that happened in the {duration(missing_s)} since is in it:")
    if trust_queued:
        click.echo("- Nothing is held. What was created since, if a worker ran, is created and paid for once more.")
    else:
        click.echo(
            f"- Held as uncertain, because they may have been created since: {_counted(done.held)}."
            " `python -m workers uncertain` lists them, and none is created unasked."
        )
        if done.held:
            click.echo(
                "- Until it is said what became of them, they count against the budgets; a new job that is left no more"
                " than that waits, also where the budget says refuse."
            )
    click.echo(
        "- Requests accepted since are not in it, nor will they come again: the provider may bill films that no job"
        " here knows of, and budgets do not count them.\n"
        "- What was charged, cancelled, resolved or paused since is not in it. Jobs that the provider had are asked"
        " about again, and charged; callers may be told again what they were told.\n"
        f"Before workers run: `python -m workers pause --all`, and read {_PAGE}. With workers:"
        " `python -m workers reconcile`; at the end `python -m workers resume --all`."
    )
