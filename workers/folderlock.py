"""The folder of a stack's state: made for its owner alone, and locked by one stack at a time.

The lock dies with its holders, so that no stale file ever blocks the next start.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from workers.supervisor import SupervisorError

LOCK_NAME: Final = "stack.lock"
"""The lock's file within the folder of a stack."""
_TICK_S: Final = 0.1


class FolderInUse(SupervisorError):
    """Another process runs a stack in this folder. Reaction: stop that one, or choose another folder."""


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone: databases and queues hold prompts.

    A folder that exists stays as it is.
    """
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


class FolderLock:
    """An exclusive `flock` on a file, with the holder's process id as its text for people to read.

    The descriptor may be handed to a helper process; the folder is free when the last of them has closed it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def acquire(self, wait_s: float = 30.0) -> int:
        """Take the lock and return its descriptor.

        A holder that is alive refuses at once. One that was killed may still be cleaned up after by its guard: that
        is waited for, up to `wait_s` seconds. Raises FolderInUse.
        """
        make_private(self.path.parent)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._wait_for(fd, time.monotonic() + wait_s)
            os.ftruncate(fd, 0)
            os.pwrite(fd, str(os.getpid()).encode(), 0)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        return fd

    def _wait_for(self, fd: int, deadline: float) -> None:
        while not _try_lock(fd):
            holder = _holder(fd)
            if holder is not None or time.monotonic() > deadline:
                whom = f"process {holder}" if holder else "processes that are still being stopped"
                raise FolderInUse(
                    f"{self.path.parent} is in use by {whom}: stop that stack first, or choose another folder"
                )
            time.sleep(_TICK_S)

    def living_holder(self) -> int | None:
        """The id of the process whose lock this is at this moment; None for nobody, or somebody who has died."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            # Taking it for a moment harms nobody: whoever wants it in that moment tries again.
            return None if _try_lock(fd, fcntl.LOCK_SH) else _holder(fd)
        finally:
            os.close(fd)

    def release(self) -> None:
        """Close our descriptor; without effect when not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _try_lock(fd: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(fd: int) -> int | None:
    """The id written by the holder, if that process is alive."""
    text = os.pread(fd, 32, 0)
    if not text.isdigit():
        return None
    try:
        os.kill(int(text), 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return int(text)
