"""The request stream and the input images that came with it, as the workers read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from redis import Redis
from redis.exceptions import ResponseError

from schemas.keys import REQUESTS, input_blob

from .keys import INTAKE_GROUP

# One name for every accept lane: entries that a dead lane had read are then simply the next lane's oldest ones.
_CONSUMER = "lane"


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One entry as it came: nothing of it has been checked."""

    id: str
    fields: Mapping[str, bytes] = field(repr=False)


class Intake:
    """The door through Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def read(self, limit: int, wait_s: float) -> list[StreamEntry]:
        """Up to `limit` entries: first those read before and never finished, else new ones.

        Waits up to `wait_s` seconds for the first new entry, so that an idle lane is quick without asking often.
        """
        try:
            return self._read(limit, "0", None) or self._read(limit, ">", max(1, int(wait_s * 1000)))
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            self._make_group()
            return []

    def _read(self, limit: int, start: str, block_ms: int | None) -> list[StreamEntry]:
        answer = self._redis.xreadgroup(INTAKE_GROUP, _CONSUMER, {REQUESTS: start}, count=limit, block=block_ms)
        streams = answer.items() if isinstance(answer, dict) else (answer or [])
        return [entry for _, entries in streams for entry in _entries(entries)]

    def _make_group(self) -> None:
        try:
            self._redis.xgroup_create(REQUESTS, INTAKE_GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):  # another worker made it first
                raise

    def done(self, entry_ids: Sequence[str]) -> None:
        """Say that entries are committed (or put aside): they leave the stream."""
        if entry_ids:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.xack(REQUESTS, INTAKE_GROUP, *entry_ids)
                pipe.xdel(REQUESTS, *entry_ids)
                pipe.execute()

    def input(self, sha256: str) -> bytes | None:
        """The bytes of an input image; `None` when Redis does not hold it (any more)."""
        blob = self._redis.get(input_blob(sha256))
        return blob if isinstance(blob, bytes) else None

    def drop_inputs(self, sha256s: Iterable[str]) -> None:
        """Free the memory of input images that have been stored elsewhere."""
        names = [input_blob(sha256) for sha256 in sha256s]
        if names:
            self._redis.unlink(*names)


def _entries(raw: Iterable[Iterable[object]]) -> list[StreamEntry]:
    found = []
    for entry_id, values in raw:
        pairs = values.items() if isinstance(values, dict) else ()
        fields = {name.decode("utf-8", "replace"): value for name, value in pairs}
        found.append(StreamEntry(entry_id.decode(), fields))  # type: ignore[attr-defined]  # bytes: responses not decoded
    return found
