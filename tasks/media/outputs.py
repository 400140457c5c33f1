"""One output from the provider's URL to its place in the store: fetched, checked, and only then visible."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from schemas.jobs import Output
from tasks.domain.answers import RemoteOutput
from tasks.domain.finishing import ExpectedFilm
from tasks.media.fetch import Fetched, fetch
from tasks.media.probe import Film, check, probe
from tasks.media.sniff import HEAD_BYTES, extension_for
from tasks.media.store import Store
from tasks.outward import PUBLIC, Reach, guarded_session
from tasks.transport import Deadlines

# What the bytes are outweighs what the provider calls them.
_KIND_OF: Final = {"mp4": "video", "png": "image", "jpg": "image", "webp": "image"}


class OutputFetcher:
    """Fetches outputs into a store within limits: `max_bytes` and `within` for each file, `reach` for its address."""

    def __init__(self, store: Store, max_bytes: int, within: Deadlines, reach: Reach = PUBLIC) -> None:
        self._store, self._max_bytes, self._within = store, max_bytes, within
        self._session = guarded_session(reach)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._session.close()

    def keep(self, remote: RemoteOutput, name: str, index: int, expected: ExpectedFilm) -> Output:
        """Store one output under `name` (`{tenant}/{job_id}/{index}`, without extension) and say what it is.

        A film that differs from what was expected is stored with the difference; one that can't be played is not.
        Raises the errors of `tasks.media.errors`, and `OSError` when the local disk can't be written.
        """
        part = self._store.part(f"{name}.part")
        try:
            fetched = fetch(
                remote.url,
                part,
                session=self._session,
                max_bytes=self._max_bytes,
                within=self._within,
                has_room=self._store.has_room,
            )
            extension = extension_for(remote.type, fetched.content_type, _head(part))
            kind = _KIND_OF.get(extension, remote.type)
            film = probe(part, kind)
            path = f"{name}.{extension}"
            self._store.commit(part, path)
        finally:
            self._store.discard(part)
        kept = _output(kind, index, path, fetched, film)
        return replace(kept, mismatch=_mismatch(film, expected)) if kind == "video" else kept


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _mismatch(film: Film | None, expected: ExpectedFilm) -> str | None:
    return None if film is None else check(film, expected.width, expected.height, expected.duration_s)


def _output(media_type: str, index: int, path: str, fetched: Fetched, film: Film | None) -> Output:
    return Output(
        index=index,
        type=media_type,
        path=path,
        size_bytes=fetched.size_bytes,
        sha256=fetched.sha256,
        width=None if film is None else film.width,
        height=None if film is None else film.height,
        duration_s=None if film is None else film.duration_s,
    )
