"""Copies of an SQLite ledger: made while workers write, looked through, and put in the ledger's place.

A copy is a file that is whole or not there. Refuses to replace a ledger that a process has open; PostgreSQL has tools
of its own for all of this.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final
from urllib.parse import quote

import sqlalchemy as sa

from schemas.jobs import State
from tasks.durably import publish, sync

from .database import Ledger, Transaction
from .holding import last_change
from .migrate import SchemaMismatch, check, upgrade
from .tables import charges, jobs

# Where SQLite's locks of a file are (https://www.sqlite.org/src/file/src/os.h): whoever has a ledger in WAL mode open
# holds a shared one, also between transactions.
_LOCKS_AT: Final = 0x40000000
_LOCKS_BYTES: Final = 512
_BESIDE: Final = ("-wal", "-shm")
"""What belongs to an SQLite file: it may hold the latest commits."""
_WAIT_S: Final = 30.0


class CopyUnusable(Exception):
    """A file is no whole ledger. The message says what is wrong with it. Reaction: take another copy."""


class LedgerInUse(Exception):
    """A process has the ledger open, so that it can't be replaced. Reaction: stop all of them first."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a ledger holds. `known_until`: the last change of a job that it knows of."""

    jobs: Mapping[State, int]
    charges: int
    charged_usd: Decimal
    known_until: datetime | None


def url_of(path: Path) -> sa.URL:
    """The address of an SQLite file, whatever is in its name."""
    return sa.URL.create("sqlite", database=str(path))


def figures(tx: Transaction) -> Figures:
    """Counts a ledger up. Reads all of it."""
    count = sa.func.count()
    states = tx.execute(sa.select(jobs.c.state, count.label("jobs")).group_by(jobs.c.state))
    paid = tx.execute(sa.select(count.label("charges"), sa.func.sum(charges.c.amount_usd).label("amount"))).one()
    found = {State(row.state): row.jobs for row in states}
    return Figures(
        {state: found[state] for state in State if state in found},
        paid.charges,
        paid.amount or Decimal("0.00"),
        last_change(tx),
    )


def make(source: Path, part: Path) -> None:
    """Copy an SQLite database as it stands at one moment, whoever writes to it; `part` is its owner's alone.

    Nobody waits for it: it reads a snapshot. What is committed meanwhile is not in it. Raises `CopyUnusable` for a
    source that is no database, or a damaged one.
    """
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    place = f"file:{quote(str(source))}?mode=ro"
    try:
        with closing(sqlite3.connect(place, uri=True, timeout=_WAIT_S)) as ledger, closing(_opened(part)) as copied:
            # In one step: one that is made in several begins anew with each commit in between.
            ledger.backup(copied)
    except sqlite3.DatabaseError as error:
        raise CopyUnusable(f"{source.name} can't be copied ({error})") from None


def judge(part: Path) -> None:
    """Raise `CopyUnusable` unless every page and every index of an SQLite file is sound."""
    try:
        with closing(_opened(part)) as copied:
            wrong = [str(row[0]) for row in copied.execute("PRAGMA integrity_check(3)")]
            strays = copied.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.DatabaseError as error:
        raise CopyUnusable(f"it is damaged ({error})") from None
    if wrong != ["ok"]:
        raise CopyUnusable(f"it is damaged: {'; '.join(wrong)}")
    if strays is not None:
        raise CopyUnusable(f"it is damaged: rows of {strays[0]} belong to nothing")


@contextmanager
def opened(part: Path, *, upgraded: bool = False) -> Iterator[Ledger]:
    """A copy as a ledger; with `upgraded` brought to this version's schema first.

    Raises `SchemaMismatch`, and `CopyUnusable` for a database that is no ledger at all.
    """
    ledger = Ledger(url_of(part))
    try:
        try:
            check(ledger)
        except SchemaMismatch as mismatch:
            if mismatch.found is None:
                raise CopyUnusable("it is an SQLite database, but no ledger") from None
            if not upgraded:
                raise
            upgrade(ledger)
        yield ledger
    finally:
        ledger.close()


def settle(part: Path) -> None:
    """Make a copy one file, with nothing beside it."""
    with closing(_opened(part)) as copied:
        copied.execute("PRAGMA journal_mode=DELETE")


def discard(part: Path) -> None:
    """Remove a copy that nobody is to use."""
    for path in (part, *beside(part)):
        path.unlink(missing_ok=True)


@contextmanager
def alone_with(path: Path) -> Iterator[None]:
    """Nobody has this SQLite file open, and nobody reads or writes it while the block runs. Raises `LedgerInUse`.

    This process must not have it open either: it would lose its own locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCKS_BYTES, _LOCKS_AT)
        except OSError:
            raise LedgerInUse(f"a process has {path} open: stop all that work with it first") from None
        yield
    finally:
        os.close(descriptor)


def exchange(part: Path, final: Path, aside: Path) -> None:
    """Put a settled copy in a ledger's place, and that ledger `aside`, as it is: what is wrong with it may be of use.

    Who dies in between leaves no ledger, rather than one without its latest commits. Raises `LedgerInUse`.
    """
    if not final.exists():
        _move_beside(final, aside)
        publish(part, final)
        return
    with alone_with(final):
        part.chmod(stat.S_IMODE(final.stat().st_mode))
        final.rename(aside)
        _move_beside(final, aside)
        sync(final.parent)
        publish(part, final)


def _move_beside(final: Path, aside: Path) -> None:
    # SQLite would take what it finds beside the new file for the new file's.
    for old, new in zip(beside(final), beside(aside), strict=True):
        if old.exists():
            old.rename(new)


def beside(path: Path) -> list[Path]:
    """The files that SQLite keeps beside one of its own."""
    return [path.with_name(path.name + suffix) for suffix in _BESIDE]


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_WAIT_S)
