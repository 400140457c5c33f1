"""Keeps a worker's own threads and its forks apart.

A prefork pool forks whenever a child has died. What another thread of the parent holds at that moment (SQLite's one
mutex, say) stays held in the new child for ever, and the child hangs at its first look at the database.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_WAIT_S: Final = 2.0
"""A thread that has been at it for longer waits for a server, and holds nothing that matters to a child."""

_apart = threading.Lock()
_taken_by_fork = False


@contextmanager
def apart_from_forks() -> Iterator[None]:
    """While the block runs in a thread, this process is not forked; the block begins after a fork under way."""
    with _apart:
        yield


def _before() -> None:
    global _taken_by_fork  # noqa: PLW0603 (one process, one fork at a time: it happens under the interpreter's lock)
    _taken_by_fork = _apart.acquire(timeout=_WAIT_S)


def _in_parent() -> None:
    if _taken_by_fork:
        _apart.release()


def _in_child() -> None:
    global _apart  # noqa: PLW0603 (the thread that may have held the old one is not in the child)
    _apart = threading.Lock()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
