"""Where outputs and inputs are kept: the `Store` that the tasks know, and `FolderStore`, a folder on a file system.

A file is visible under its name whole and durable, or not at all. Refuses every path that is not built from our ids.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from tasks.durably import free_bytes, make_folder, publish
from tasks.failpoints import failpoint
from tasks.media.errors import InputUnavailable, PathRefused

_PARTS: Final = ".parts"
_INPUTS: Final = "inputs"
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
# Job ids are longer than the two characters of an input's folder, so a tenant may well be named "inputs".
_OUTPUT: Final = re.compile(
    rf"(?P<tenant>{_NAME})/(?P<job>(?!.{{1,2}}/){_NAME})/(?P<index>[0-9]{{1,4}})\.[a-z0-9]{{1,5}}"
)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_EXTENSION: Final = re.compile(r"[a-z0-9]{1,5}")


class Store(Protocol):
    """Keeps outputs under `{tenant}/{job_id}/{index}.{ext}`, and input images under their SHA-256.

    Paths are relative, with `/`; one that is not of this form raises `PathRefused`.
    """

    def part(self, relative: str) -> Path:
        """A path for one try at writing this output: new every time, its folder made, the file not."""

    def commit(self, part: Path, relative: str) -> Path:
        """Make a whole part visible under its name, durably; returns where it now is. Replaces what was there."""

    def discard(self, part: Path) -> None:
        """Remove a part, if it is there."""

    def sweep_parts(self, older_than_s: float, now: datetime) -> int:
        """Remove parts not written to for `older_than_s` seconds before `now` (aware); returns how many."""

    def free_bytes(self) -> int:
        """How many bytes can still be written."""

    def has_room(self, for_bytes: int = 0) -> bool:
        """Whether `for_bytes` more leave the disk above its low-water mark. Ask before claiming what will be kept."""

    def open(self, relative: str) -> BinaryIO:
        """An output opened for reading. Raises `FileNotFoundError`."""

    def path(self, relative: str) -> Path:
        """Where an output stands, or would."""

    def exists(self, relative: str) -> bool:
        """Whether an output is there, whole."""

    def put_input(self, sha256: str, data: bytes, ext: str) -> None:
        """Keep an input's bytes, durably; again is no harm. Raises `PathRefused` if `sha256` (hex) is not theirs."""

    def has_input(self, sha256: str, ext: str) -> bool:
        """Whether an input is there, whole."""

    def get_input(self, sha256: str, ext: str) -> bytes:
        """An input's bytes. Raises `InputUnavailable` if they are missing or are no longer those that were put."""


class FolderStore:
    """A `Store` in a folder, which must be on one file system: renames within it are atomic.

    `low_bytes`: what has to stay free there, for all else that writes to the disk.
    """

    def __init__(self, root: Path | str, low_bytes: int = 0) -> None:
        self.root = Path(root).absolute()
        self.low_bytes = low_bytes

    def __repr__(self) -> str:
        return f"FolderStore({str(self.root)!r})"

    def part(self, relative: str) -> Path:
        match = _output(relative)
        make_folder(self.root / _PARTS)
        return self._new_part(f"{match['job']}-{match['index']}")

    def commit(self, part: Path, relative: str) -> Path:
        final = self.path(relative)
        self._check_part(part)
        failpoint("output.before_rename")
        publish(part, final)
        failpoint("output.after_rename")
        return final

    def discard(self, part: Path) -> None:
        self._check_part(part)
        part.unlink(missing_ok=True)

    def sweep_parts(self, older_than_s: float, now: datetime) -> int:
        removed = 0
        for part in (self.root / _PARTS).glob("*.part"):
            try:
                if now.timestamp() - part.stat().st_mtime > older_than_s:
                    part.unlink()
                    removed += 1
            except FileNotFoundError:  # committed or discarded meanwhile
                continue
        return removed

    def free_bytes(self) -> int:
        return free_bytes(self.root)

    def has_room(self, for_bytes: int = 0) -> bool:
        return self.free_bytes() - for_bytes >= self.low_bytes

    def open(self, relative: str) -> BinaryIO:
        return self.path(relative).open("rb")

    def path(self, relative: str) -> Path:
        _output(relative)
        return self.root / relative

    def exists(self, relative: str) -> bool:
        return self.path(relative).is_file()

    def put_input(self, sha256: str, data: bytes, ext: str) -> None:
        final = self._input_path(sha256, ext)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise PathRefused("the SHA-256 is not that of the bytes")
        if final.is_file() and final.read_bytes() == data:  # what was damaged is written anew
            return
        make_folder(self.root / _PARTS)
        part = self._new_part(sha256)
        try:
            part.write_bytes(data)
            failpoint("input.before_rename")
            publish(part, final)
            failpoint("input.after_rename")
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def has_input(self, sha256: str, ext: str) -> bool:
        return self._input_path(sha256, ext).is_file()

    def get_input(self, sha256: str, ext: str) -> bytes:
        try:
            data = self._input_path(sha256, ext).read_bytes()
        except FileNotFoundError:
            raise InputUnavailable(sha256, "not in the store") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise InputUnavailable(sha256, "the stored bytes have another checksum")
        return data

    def _input_path(self, sha256: str, ext: str) -> Path:
        if not _SHA256.fullmatch(sha256) or not _EXTENSION.fullmatch(ext):
            raise PathRefused("an input is named by its SHA-256 in lower-case hex and a plain extension")
        return self.root / _INPUTS / sha256[:2] / f"{sha256}.{ext}"

    def _new_part(self, stem: str) -> Path:
        return self.root / _PARTS / f"{stem}.{secrets.token_hex(8)}.part"

    def _check_part(self, part: Path) -> None:
        if part.parent != self.root / _PARTS or part.suffix != ".part":
            raise PathRefused("not a part of this store")


def _output(relative: str) -> re.Match[str]:
    match = _OUTPUT.fullmatch(relative)
    if match is None:
        raise PathRefused("an output's path is {tenant}/{job_id}/{index}.{ext}, from plain ids")
    return match
