"""A `Store` in a folder on a file system. Refuses to leave a file that a power cut could cut short."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, Literal

from tasks.durably import free_bytes, publish, sync
from tasks.failpoints import failpoint
from tasks.media import names
from tasks.media.errors import InputUnavailable, PathRefused
from tasks.media.parts import Parts
from tasks.media.store import Removed

_PARTS: Final = ".parts"


class FolderStore:
    """A `Store` in a folder, which must be on one file system: renames within it are atomic.

    `low_bytes`: what has to stay free there, for all else that writes to the disk.
    """

    def __init__(self, root: Path | str, low_bytes: int = 0) -> None:
        self.root = Path(root).absolute()
        self.low_bytes = low_bytes
        self._parts = Parts(self.root / _PARTS)

    def __repr__(self) -> str:
        return f"FolderStore({str(self.root)!r})"

    def part(self, relative: str) -> Path:
        """As `Store` says, in a folder of the same file system."""
        named = names.output(relative)
        return self._parts.new(f"{named['job']}-{named['index']}")

    def commit(self, part: Path, relative: str) -> None:
        """Sync the part, rename it, and sync the folder: a power cut leaves the whole file or none."""
        final = self.path(relative)
        self._parts.check(part)
        failpoint("output.before_rename")
        publish(part, final)
        failpoint("output.after_rename")

    def discard(self, part: Path) -> None:
        """As `Store` says."""
        self._parts.discard(part)

    def sweep_parts(self, older_than_s: float, now: datetime) -> int:
        """As `Store` says."""
        return self._parts.sweep(older_than_s, now)

    def free_bytes(self) -> int:
        """Of the file system that the folder is on, as far as this user may write."""
        return free_bytes(self.root)

    def has_room(self, for_bytes: int = 0) -> bool:
        """As `Store` says, of the folder's file system."""
        return self.free_bytes() - for_bytes >= self.low_bytes

    def open(self, relative: str) -> BinaryIO:
        """As `Store` says: the file itself."""
        return self.path(relative).open("rb")

    def path(self, relative: str) -> Path:
        """Where an output stands, or would."""
        names.output(relative)
        return self.root / relative

    def handed_out(self, relative: str, method: Literal["GET", "HEAD"] = "GET") -> Path:  # noqa: ARG002 (for others)
        """The file's path. Raises `FileNotFoundError`."""
        path = self.path(relative)
        if not path.is_file():
            raise FileNotFoundError(relative)
        return path

    def exists(self, relative: str) -> bool:
        """As `Store` says: a file has its name only once it is whole."""
        return self.path(relative).is_file()

    def put_input(self, sha256: str, data: bytes, ext: str) -> None:
        """As `Store` says, by a part of its own: two who put it at once can't harm each other's."""
        final = self.root / names.input_path(sha256, ext)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise PathRefused("the SHA-256 is not that of the bytes")
        if final.is_file() and final.read_bytes() == data:  # what was damaged is written anew
            return
        part = self._parts.new(sha256)
        try:
            part.write_bytes(data)
            failpoint("input.before_rename")
            publish(part, final)
            failpoint("input.after_rename")
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def has_input(self, sha256: str, ext: str) -> bool:
        """As `Store` says."""
        return (self.root / names.input_path(sha256, ext)).is_file()

    def get_input(self, sha256: str, ext: str) -> bytes:
        """As `Store` says; the bytes are hashed whenever they are read."""
        try:
            data = (self.root / names.input_path(sha256, ext)).read_bytes()
        except FileNotFoundError:
            raise InputUnavailable(sha256, "not in the store") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise InputUnavailable(sha256, "the stored bytes have another checksum")
        return data

    def remove_outputs(self, tenant: str, job_id: str) -> Removed:
        """As `Store` says; the folder is synced, so that a power cut brings none back."""
        relative = names.outputs_folder(tenant, job_id)
        folder = self.root / relative
        try:
            found = [path for path in folder.iterdir() if names.is_output(f"{relative}/{path.name}")]
        except FileNotFoundError:
            return Removed()
        sizes_bytes = [_unlinked(path) for path in found]
        sync(folder)
        with suppress(OSError):  # what is none of ours may stand there
            folder.rmdir()
        return Removed(len(found), sum(sizes_bytes))

    def remove_input(self, sha256: str, ext: str) -> Removed:
        """As `Store` says."""
        path = self.root / names.input_path(sha256, ext)
        try:
            size_bytes = _unlinked(path)
        except FileNotFoundError:
            return Removed()
        sync(path.parent)
        return Removed(1, size_bytes)


def _unlinked(path: Path) -> int:
    size_bytes = path.lstat().st_size
    path.unlink()
    return size_bytes
