"""Answers of the provider that the database could not take: on this machine's disk until it can. Refuses to read them.

A create that was answered and not written down would look like one of unknown outcome. The spool is the last place
where its outcome can stand, so an entry is on disk before `keep` returns, and is removed only by whoever has written it
to the ledger.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tasks.durably import free_bytes, make_folder, publish
from tasks.failpoints import failpoint


class Spool:
    """A folder of entries, one a file, named by what they are about. Shared by the workers of one machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, name: str, entry: Mapping[str, Any]) -> None:
        """Put an entry on disk, durably. Raises `OSError`."""
        make_folder(self._folder, 0o700)
        part = self._folder / f"{name}.part"
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(entry, file)
        failpoint("spool.before_rename")
        publish(part, self._folder / f"{name}.json")
        failpoint("spool.after_rename")

    def has_room(self, low_bytes: int) -> bool:
        """Whether `low_bytes` are free where entries go. Ask before doing what may need one. Raises `OSError`."""
        return free_bytes(self._folder) >= low_bytes

    def has_name(self) -> bool:
        """Whether anybody has told of it: before that there is nothing to take back."""
        return (self._folder / "name").exists()

    def name(self) -> str:
        """What this spool is called, wherever its folder is mounted: by the first machine that told of it.

        Ask when something waits, or may have waited: it is kept in the folder. Raises `OSError`.
        """
        path = self._folder / "name"
        if not path.exists():
            made = f"{socket.gethostname()}-{secrets.token_hex(4)}"
            part = self._folder / f"{made}.part"
            part.write_text(made)
            with suppress(FileExistsError):  # another worker was quicker
                os.link(part, path)
            part.unlink()
        return path.read_text()

    def waiting(self) -> int:
        """How many entries there are."""
        return sum(1 for _ in self._folder.glob("*.json")) if self._folder.is_dir() else 0

    def entries(self) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
        """Every entry with its name; `None` for one that cannot be read."""
        for path in sorted(self._folder.glob("*.json")):
            try:
                entry = json.loads(path.read_text())
            except FileNotFoundError:  # another worker was quicker
                continue
            except ValueError:
                entry = None
            yield path.stem, entry if isinstance(entry, dict) else None

    def age_s(self, name: str) -> float:
        """How long ago an entry was kept, by this machine's clock; zero for one that is gone."""
        try:
            return time.time() - (self._folder / f"{name}.json").stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def done(self, name: str) -> None:
        """Forget an entry that stands in the ledger."""
        (self._folder / f"{name}.json").unlink(missing_ok=True)

    def set_aside(self, name: str) -> None:
        """Keep an entry that cannot be used for a person to look at, out of the way of the others."""
        path = self._folder / f"{name}.json"
        if path.exists():
            failpoint("set_aside.before_rename")
            path.replace(path.with_suffix(".refused"))
            failpoint("set_aside.after_rename")

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether this process is the only one on the machine that works the spool while the block runs."""
        if not self._folder.is_dir():
            yield False
            return
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            # Given up by name, because a child that was forked meanwhile has the descriptor too, and would keep it.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
