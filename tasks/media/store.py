"""Where outputs and inputs are kept: what every store promises, a folder (`folderstore`) as a bucket (`s3store`).

A file is visible under its name whole and durable, or not at all. Refuses every path that is not built from our ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal, Protocol


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """Opens one output for whoever has it, for `ttl_s` seconds: it does not print."""

    url: str = field(repr=False)
    ttl_s: int


@dataclass(frozen=True, slots=True)
class Removed:
    """How many files were removed, and their bytes: nothing where none was there (any more)."""

    files: int = 0
    size_bytes: int = 0


class Store(Protocol):
    """Keeps outputs under `{tenant}/{job_id}/{index}.{ext}`, and input images under their SHA-256.

    Paths are relative, with `/`; one that is not of this form raises `PathRefused`. All raise `OSError` when what they
    need can't be reached, read or written: `StoreAway` where that is an object store, else of the disk.
    """

    def part(self, relative: str) -> Path:
        """A path for one try at writing this output: new every time, its folder made, the file not."""

    def commit(self, part: Path, relative: str) -> None:
        """Make a whole part visible under its name, durably; the part is gone then. Replaces what was there."""

    def discard(self, part: Path) -> None:
        """Remove a part, if it is there."""

    def sweep_parts(self, older_than_s: float, now: datetime) -> int:
        """Remove parts not written to for `older_than_s` seconds before `now` (aware); returns how many."""

    def free_bytes(self) -> int:
        """How many bytes can still be written to parts."""

    def has_room(self, for_bytes: int = 0) -> bool:
        """Whether `for_bytes` more leave the disk above its low-water mark. Ask before claiming what will be kept."""

    def open(self, relative: str) -> BinaryIO:
        """An output opened for reading. Raises `FileNotFoundError`."""

    def handed_out(self, relative: str, method: Literal["GET", "HEAD"] = "GET") -> Path | SignedUrl:
        """How an output is given to somebody: the file to send, or where to send them, for a request by `method`.

        Raises `FileNotFoundError`.
        """

    def exists(self, relative: str) -> bool:
        """Whether an output is there, whole."""

    def put_input(self, sha256: str, data: bytes, ext: str) -> None:
        """Keep an input's bytes, durably; again is no harm. Raises `PathRefused` if `sha256` (hex) is not theirs."""

    def has_input(self, sha256: str, ext: str) -> bool:
        """Whether an input is there, whole."""

    def get_input(self, sha256: str, ext: str) -> bytes:
        """An input's bytes. Raises `InputUnavailable` if they are missing or are no longer those that were put."""

    def remove_outputs(self, tenant: str, job_id: str) -> Removed:
        """Remove all outputs of a job, those too that were kept before it failed; again is no harm."""

    def remove_input(self, sha256: str, ext: str) -> Removed:
        """Remove an input, whoever may need it: only the ledger knows. Again is no harm."""
