"""Parts: files that are being written, in a folder of their own, under names that nobody else uses."""

from __future__ import annotations

import secrets
from datetime import datetime
from pathlib import Path

from tasks.durably import make_folder
from tasks.media.errors import PathRefused


class Parts:
    """The parts in `folder`, which is made when the first one comes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new(self, stem: str) -> Path:
        """A path for one try: new every time, its folder made, the file not."""
        make_folder(self.folder)
        return self.folder / f"{stem}.{secrets.token_hex(8)}.part"

    def check(self, part: Path) -> None:
        """Raises `PathRefused` for a path that is no part of this folder."""
        if part.parent != self.folder or part.suffix != ".part":
            raise PathRefused("not a part of this store")

    def discard(self, part: Path) -> None:
        """Remove a part, if it is there."""
        self.check(part)
        part.unlink(missing_ok=True)

    def sweep(self, older_than_s: float, now: datetime) -> int:
        """Remove parts not written to for `older_than_s` seconds before `now` (aware); returns how many."""
        removed = 0
        for part in self.folder.glob("*.part"):
            try:
                if now.timestamp() - part.stat().st_mtime > older_than_s:
                    part.unlink()
                    removed += 1
            except FileNotFoundError:  # committed or discarded meanwhile
                continue
        return removed
