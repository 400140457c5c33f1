"""Errors of fetching, checking and keeping files, by what to do about them. None ever carries a URL."""

from __future__ import annotations


class MediaError(Exception):
    """The base of all errors of this package."""


class FetchError(MediaError):
    """An output was not fetched; nothing of it is left on disk. Its text is in words of ours."""


class FetchExpired(FetchError):
    """The URL is no longer served (401, 403, 404, 410). Get a fresh one by a poll, then fetch again."""


class FetchRefused(FetchError):
    """What the URL gives, or the place it leads to, is not wanted: too big, a web page, not public. It stays so."""


class FetchInterrupted(FetchError):
    """The transfer broke off, ran out of time, or met a busy server. Fetch again."""


class NoRoom(FetchError):
    """The disk would have been filled below its low-water mark. Fetch again when there is room."""


class StoreAway(MediaError, OSError):
    """The object store does not answer, or refuses. What was asked of it may have been done; again is no harm.

    It says nothing about a job: give the job back, uncounted, and try again later. Its text is in words of ours.
    """


class NotPlayable(MediaError):
    """The file is no video (or picture) that can be decoded. Fetching again may help once; then it is what was made."""


class PathRefused(MediaError, ValueError):
    """The path or name is not one of ours. A mistake of the caller: do not try again."""


class InputUnavailable(MediaError):
    """An input is missing from the store, or its bytes are not those that were stored. The job cannot be created."""

    def __init__(self, sha256: str, reason: str) -> None:
        super().__init__(f"input {sha256}: {reason}")
