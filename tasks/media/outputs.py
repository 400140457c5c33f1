"""One output from the provider's URL to its place in the store: fetched, checked, and only then visible."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from schemas.jobs import Output
from tasks.domain.answers import RemoteOutput
from tasks.domain.finishing import ExpectedFilm
from tasks.media.fetch import Fetched, fetch
from tasks.media.probe import Film, check, probe
from tasks.media.sniff import HEAD_BYTES, extension_for
from tasks.media.store import Store
from tasks.transport import Deadlines


@dataclass(frozen=True, slots=True)
class OutputFetcher:
    """Fetches outputs into a store within limits: `max_bytes` and `within` for each file."""

    store: Store
    max_bytes: int
    within: Deadlines

    def keep(self, remote: RemoteOutput, name: str, index: int, expected: ExpectedFilm) -> Output:
        """Store one output under `name` (`{tenant}/{job_id}/{index}`, without extension) and say what it is.

        A film that differs from what was expected is stored with the difference; one that can't be played is not.
        Raises the errors of `tasks.media.errors`, and `OSError` when the local disk can't be written.
        """
        part = self.store.part(f"{name}.part")
        try:
            fetched = fetch(remote.url, part, max_bytes=self.max_bytes, within=self.within)
            film = probe(part, remote.type)
            path = f"{name}.{extension_for(remote.type, fetched.content_type, _head(part))}"
            self.store.commit(part, path)
        finally:
            self.store.discard(part)
        return _output(remote, index, path, fetched, film, expected)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _output(
    remote: RemoteOutput, index: int, path: str, fetched: Fetched, film: Film | None, expected: ExpectedFilm
) -> Output:
    mismatch = None
    if film is not None and remote.type == "video":
        mismatch = check(film, expected.width, expected.height, expected.duration_s)
    return Output(
        index=index,
        type=remote.type,
        path=path,
        size_bytes=fetched.size_bytes,
        sha256=fetched.sha256,
        width=None if film is None else film.width,
        height=None if film is None else film.height,
        duration_s=None if film is None else film.duration_s,
        mismatch=mismatch,
    )
