"""Files that are there whole and for good, or not at all, whatever dies in between. Refuses to know what they hold."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def publish(part: Path, final: Path) -> None:
    """Give a written part its name: bytes first, then the name, then the folder that holds it.

    A crash in between leaves the old file or the new one. Both must be on one file system.
    """
    make_folder(final.parent)
    sync(part)
    part.replace(final)
    sync(final.parent)


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder and its parents, each durably named in its own parent."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=mode, exist_ok=True)
    sync(folder.parent)


def free_bytes(folder: Path) -> int:
    """How many bytes can still be written in a folder; where it is not made yet, where it will be. Raises `OSError`."""
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
