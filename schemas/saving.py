"""Saves the films of a completed job: fetched in pieces into a file beside its place, checked, and put there whole.

Owns the few repetitions of a transfer that broke off. Refuses to leave anything half or unchecked at a film's place.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Final

from .errors import GatewayAway, NotSaved
from .exchange import EXCHANGE_ERRORS
from .gateway import Gateway
from .jobs import Output, completed

SAVE_S: Final = 3600.0
"""A save as a whole takes no longer, unless told to."""
TRIES: Final = 6
"""A transfer is begun so often at most."""
PAUSE_S: Final = 0.25
"""Before it is taken up the first time; each time twice as long."""
_CHUNK_BYTES: Final = 256 * 1024
_SUFFIX: Final = re.compile(r"\.[a-z0-9]{1,8}", re.ASCII)
_START: Final = re.compile(r"bytes (\d{1,18})-", re.ASCII)


def save(gateway: Gateway, job_id: str, target: str | PathLike[str], timeout_s: float) -> tuple[Path, ...]:
    """See `Handle.save`."""
    until_s = time.monotonic() + timeout_s
    view = gateway.job(job_id, until_s)
    if not view.terminal:
        raise NotSaved(job_id, f"it is {view.state}: wait for its end first")
    outputs = completed(view).outputs
    if not outputs:
        raise NotSaved(job_id, "it has no outputs")
    folder, name = _folder_and_name(target)
    with ExitStack() as parts:
        fetched: list[tuple[Path, Path]] = []
        for output in outputs:
            part = parts.enter_context(_part_in(folder))
            with part.open("xb") as file:
                suffix = _Transfer(gateway, job_id, output, file, until_s).run()
            fetched.append((part, folder / _name(name, job_id, output.index, suffix, is_first=not fetched)))
        for part, place in fetched:
            part.replace(place)
    return tuple(place for _, place in fetched)


def _folder_and_name(target: str | PathLike[str]) -> tuple[Path, str | None]:
    """The folder of the files, and the name of the first one; `None`: the film's own."""
    path, text = Path(target), os.fspath(target)
    if text.endswith(("/", os.sep)):
        path.mkdir(parents=True, exist_ok=True)
    return (path, None) if path.is_dir() else (path.parent, path.name)


def _name(name: str | None, job_id: str, index: int, suffix: str, *, is_first: bool) -> str:
    if name is None:
        return f"{job_id}-{index}{suffix}"
    return name if is_first else f"{Path(name).stem}-{index}{suffix}"


@contextmanager
def _part_in(folder: Path) -> Iterator[Path]:
    """A path of its own in the folder; what is there afterwards is removed."""
    path = folder / f".{secrets.token_hex(8)}.part"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


class _Transfer:
    """One output on its way into a file."""

    def __init__(self, gateway: Gateway, job_id: str, output: Output, file: BinaryIO, until_s: float) -> None:
        self._gateway, self._job_id, self._output = gateway, job_id, output
        self._file, self._until_s = file, until_s
        self._restart()

    def run(self) -> str:
        """Fetches and checks all of it; the suffix of its name. Raises `NotSaved`, `GatewayRefused`, `GatewayAway`."""
        for number in range(TRIES):
            try:
                suffix = self._go_on()
                break
            except GatewayAway:
                # What has not begun has not broken off: that is for the caller to repeat.
                if not self._size_bytes or number == TRIES - 1 or self._left_s() <= 0:
                    raise
            time.sleep(max(0.0, min(PAUSE_S * 2**number, self._left_s())))
        if self._sha256.hexdigest() != self._output.sha256:
            raise self._not_it("is not what was stored (SHA-256)")
        self._file.flush()
        os.fsync(self._file.fileno())
        return suffix

    def _go_on(self) -> str:
        """Fetches what is missing. Raises `GatewayAway` when it breaks off."""
        with self._gateway.output(self._job_id, self._output.index, self._size_bytes, self._until_s) as answer:
            if self._starts_at(answer) != self._size_bytes:
                self._restart()
            while data := _read(answer):
                self._take(data)
        if self._size_bytes != self._output.size_bytes:
            raise GatewayAway("the file broke off; ask again later")
        named = answer.headers.get_filename() or ""
        suffix = Path(named).suffix.lower()
        return suffix if _SUFFIX.fullmatch(suffix) else ""

    def _starts_at(self, answer: http.client.HTTPResponse) -> int:
        if answer.status == http.client.OK:
            return 0
        found = _START.match(answer.headers.get("Content-Range", ""))
        if found is None or int(found[1]) not in (0, self._size_bytes):
            raise NotSaved(
                self._job_id, f"other bytes of output {self._output.index} came than were asked for; save it again"
            )
        return int(found[1])

    def _take(self, data: bytes) -> None:
        self._size_bytes += len(data)
        if self._size_bytes > self._output.size_bytes:
            raise self._not_it("is larger than what was stored")
        self._sha256.update(data)
        self._file.write(data)

    def _not_it(self, how: str) -> NotSaved:
        return NotSaved(self._job_id, f"output {self._output.index} {how}; save it again")

    def _restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._size_bytes, self._sha256 = 0, hashlib.sha256()

    def _left_s(self) -> float:
        return self._until_s - time.monotonic()


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read1(_CHUNK_BYTES)
    except EXCHANGE_ERRORS as error:
        raise GatewayAway(f"the file broke off ({type(error).__name__}); ask again later") from None
