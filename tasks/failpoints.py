"""Named places at which a process can be made to kill itself: how the promises are tried, not how anything works.

Owns the list of places and the killing. Refuses any other kind of failure: a process that dies in the middle of
something is the worst that can happen to it, and SIGKILL leaves it no last word.

`REELWORKS_FAILPOINT` names one place (the process dies there every time), or a folder of fuses by its absolute path:
a file there with the name of a place is taken away by the first process that comes by, which then dies. So one fuse
is one death, whenever it is laid. Without the variable a place costs one look into an empty dictionary.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

VARIABLE: Final = "REELWORKS_FAILPOINT"

_PLACES: Final[dict[str, tuple[str, ...]]] = {
    # Transactions, by the names that `Ledger.begin` is given.
    "commit": (
        "accept",
        "admit",
        "create.claim",
        "create.begin",
        "create.outcome",
        "create.refused",
        "create.back",
        "given_back",
        "poll",
        "download.claim",
        "download.stored",
        "download.given_back",
        "download.renewed",
        "download.refreshed",
        "record",
        "sweep.confirm",
        "sweep.rescue",
        "sweep.park",
        "sweep.refill",
        "settle",
        "notify",
        "notify.secret",
        "notify.settle",
        "command.put_aside",
        "operate",
        "prune.files",
        "prune.claim",
        "prune.removed",
    ),
    "post": ("create", "notify"),
    "publish": ("create", "download", "record", "lane", "view", "seed", "confirm"),
    "rename": ("output", "input", "spool", "set_aside"),
    "ack": ("accept", "command"),
    "claim": ("poll",),
    "remove": ("prune",),
    "put_back": ("poll",),
}
"""Kind of step -> where it happens. A place is `WHERE.before_KIND` or `WHERE.after_KIND`."""

FAILPOINTS: Final = frozenset(
    f"{where}.{when}_{kind}" for kind, wheres in _PLACES.items() for where in wheres for when in ("before", "after")
)

_armed: dict[str, Callable[[str], None]] = {}


def failpoint(name: str) -> None:
    """Die here, if somebody asked for it."""
    act = _armed.get(name)
    if act is not None:
        act(name)


def arm(text: str) -> None:
    """Set the place, or the folder of fuses; an empty text disarms all. Raises `ValueError` for an unknown place."""
    _armed.clear()
    if text.startswith("/"):
        fuses = Path(text)
        _armed.update(dict.fromkeys(FAILPOINTS, lambda name: _burn(fuses / name)))
    elif text:
        if text not in FAILPOINTS:
            raise ValueError(f"{VARIABLE}: there is no place {text!r}; there are: {', '.join(sorted(FAILPOINTS))}")
        _armed[text] = _die


def _burn(fuse: Path) -> None:
    try:
        fuse.unlink()  # of several processes that come by, one finds it
    except FileNotFoundError:
        return
    _die(fuse.name)


def _die(_name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


arm(os.environ.get(VARIABLE, ""))
