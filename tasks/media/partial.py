"""A file that grows as it is fetched: hashed on the way. Refuses to outgrow its cap or to fill the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import BinaryIO, Final

from tasks.media.errors import FetchRefused, NoRoom
from tasks.media.sniff import HEAD_BYTES

ROOM_EVERY_BYTES: Final = 16 * 1024 * 1024
"""How much is written between two looks at the disk."""


class Partial:
    """Writes to `file`, at most `max_bytes`, while `has_room(more_bytes)`. `head` are the first bytes."""

    def __init__(self, file: BinaryIO, max_bytes: int, has_room: Callable[[int], bool]) -> None:
        self._file, self._max_bytes, self._has_room = file, max_bytes, has_room
        self._begin()

    def _begin(self) -> None:
        self.size_bytes, self.head = 0, b""
        self._digest, self._looked_at_bytes = hashlib.sha256(), 0

    @property
    def sha256(self) -> str:
        """Of all bytes written so far, in hex."""
        return self._digest.hexdigest()

    def start_over(self) -> None:
        """Forget what has come."""
        self._file.seek(0)
        self._file.truncate()
        self._begin()

    def expect(self, more_bytes: int) -> None:
        """Raise now what writing so much more would raise: `FetchRefused` above the cap, `NoRoom`."""
        if self.size_bytes + more_bytes > self._max_bytes:
            raise FetchRefused(f"more than the {self._max_bytes} bytes allowed")
        if not self._has_room(more_bytes):
            raise NoRoom("the disk is full down to its low-water mark")
        self._looked_at_bytes = self.size_bytes

    def write(self, chunk: bytes) -> None:
        """Add what came next."""
        looked_lately = self.size_bytes - self._looked_at_bytes < ROOM_EVERY_BYTES
        if self.size_bytes + len(chunk) > self._max_bytes or not looked_lately:
            self.expect(len(chunk))
        if len(self.head) < HEAD_BYTES:
            self.head = (self.head + chunk)[:HEAD_BYTES]
        self._digest.update(chunk)
        self._file.write(chunk)
        self.size_bytes += len(chunk)
