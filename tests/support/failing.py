"""A ledger and a spool that fail when they are written: stand-ins for what a test takes away."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from tasks.ledger import Ledger
from tasks.spool import Spool
from tests.support.bench import Bench


def away(*_: Any) -> Any:
    raise sa.exc.OperationalError("COMMIT", None, Exception("server closed the connection"))


def full_disk(times: int | None = None) -> Callable[..., None]:
    """`Spool.keep` on a disk that is full, the first so many times, or always."""
    keep, left = Spool.keep, itertools.repeat(None) if times is None else iter([None] * times)

    def full(spool: Spool, name: str, entry: Any) -> None:
        for _ in left:
            raise OSError(errno.ENOSPC, "No space left on device")
        keep(spool, name, entry)

    return full


def wordless(ledger: Ledger, committed: bool) -> Callable[..., Any]:
    """`Ledger.begin` of a database that does a create's beginning, or does not, and breaks off before it says so."""
    begin = ledger.begin

    @contextmanager
    def broken(_: Ledger, name: str = "other") -> Iterator[Any]:
        with begin(name) as tx:
            yield tx
            if name == "create.begin" and not committed:
                away()
        if name == "create.begin":
            away()

    return broken


def grow_old(bench: Bench) -> None:
    """Have the entries of the spool wait since long ago."""
    for path in (bench.folder / "spool").glob("*.json"):
        os.utime(path, (0, 0))
