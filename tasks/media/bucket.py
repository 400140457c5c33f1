"""Names a place in an object store: `s3://bucket/prefix`. Refuses what no bucket can be called, and secrets in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_PLACE: Final = re.compile(
    rf"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9])(?:/(?P<prefix>{_NAME}(?:/{_NAME})*))?/?"
)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, and the prefix under which all of ours stands in it."""

    name: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"s3://{self.name}/{self.prefix}".rstrip("/")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `s3://bucket/prefix`. Raises `ValueError` in a sentence that does not quote it."""
        found = _PLACE.fullmatch(text)
        if found is None:
            raise ValueError(
                "must be a folder, or s3://bucket/prefix: a bucket of 3 to 63 lower-case letters, digits, - and ., "
                "and a prefix of plain names or none"
            )
        return cls(found["bucket"], found["prefix"] or "")


def is_address(text: str) -> bool:
    """Whether a text is meant as an address, not as a folder."""
    return "://" in text or text.lower().startswith("s3:")
