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

_changed = threading.Condition()
_apart = 0
"""How many threads keep apart just now. They do not wait for one another: forks wait for them, and they for forks."""
_forking = False


@contextmanager
def apart_from_forks() -> Iterator[None]:
    """While the block runs in a thread, this process is not forked; the block begins after a fork under way."""
    global _apart  # noqa: PLW0603 (counted under the lock)
    with _changed:
        _changed.wait_for(lambda: not _forking)
        _apart += 1
    try:
        yield
    finally:
        with _changed:
            _apart -= 1
            _changed.notify_all()


def _before() -> None:
    global _forking  # noqa: PLW0603 (set under the lock, which is held until the fork is done)
    _changed.acquire()
    _forking = True
    _changed.wait_for(lambda: _apart == 0, _WAIT_S)


def _in_parent() -> None:
    global _forking  # noqa: PLW0603 (as above)
    _forking = False
    _changed.notify_all()
    _changed.release()


def _in_child() -> None:
    # The threads that kept apart are not in the child.
    global _changed, _apart, _forking
    _changed, _apart, _forking = threading.Condition(), 0, False


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
