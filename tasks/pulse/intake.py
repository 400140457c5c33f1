"""The streams of requests and of commands, as the workers read them, and the images that came with requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from schemas.keys import COMMANDS, ENQUEUE_QUEUE, REQUESTS, input_blob

from .keys import INTAKE_GROUP, LOOKED_THROUGH
from .scripts import load

# One name for every accept lane: entries that a dead lane had read are then simply the next lane's oldest ones.
_CONSUMER = "lane"
_OLD_S = 3600.0
_PAGE = 1000
_SHARED_QUEUES = ("celery",)
"""Where Celery clients send what they were given no queue for."""


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One entry as it came: nothing of it has been checked."""

    id: str
    fields: Mapping[str, bytes] = field(repr=False)


class Intake:
    """The door through Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._gather = load(redis, "gather_messages")

    def gather(self, task: str, limit: int) -> int:
        """Take Celery messages of this task into the stream, of `limit` in each queue; gives how many there were."""
        names = [REQUESTS, ENQUEUE_QUEUE, LOOKED_THROUGH, *_SHARED_QUEUES]
        return int(self._gather(keys=names, args=[task, limit]))

    def read(self, limit: int, wait_s: float) -> list[StreamEntry]:
        """Up to `limit` new entries, but before them those that were read and never finished, one at a time.

        One at a time, because they may be what ended the lane that read them: too much at once, for example. Waits up
        to `wait_s` seconds for the first new entry, so that an idle lane is quick without asking often.
        """
        block_ms = max(1, int(wait_s * 1000))
        return self._read(REQUESTS, 1, "0") or self._read(REQUESTS, limit, ">", block_ms)

    def commands(self, limit: int) -> list[StreamEntry]:
        """Up to `limit` commands that were read before and not done, and as many new ones; waits for none."""
        return self._read(COMMANDS, limit, "0") + self._read(COMMANDS, limit, ">")

    def _read(self, stream: str, limit: int, start: str, block_ms: int | None = None) -> list[StreamEntry]:
        try:
            answer = self._redis.xreadgroup(INTAKE_GROUP, _CONSUMER, {stream: start}, count=limit, block=block_ms)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            self._make_group(stream)
            return []
        streams = answer.items() if isinstance(answer, dict) else (answer or [])
        return [entry for _, entries in streams for entry in _entries(entries)]

    def _make_group(self, stream: str) -> None:
        try:
            self._redis.xgroup_create(stream, INTAKE_GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):  # another worker made it first
                raise

    def done(self, entry_ids: Sequence[str]) -> None:
        """Say that entries are committed (or put aside): they leave the stream."""
        self._done(REQUESTS, entry_ids)

    def commands_done(self, entry_ids: Sequence[str]) -> None:
        """Say that commands are carried out (or put aside)."""
        self._done(COMMANDS, entry_ids)

    def _done(self, stream: str, entry_ids: Sequence[str]) -> None:
        if entry_ids:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.xack(stream, INTAKE_GROUP, *entry_ids)
                pipe.xdel(stream, *entry_ids)
                pipe.execute()

    def pass_on(self, token: str, provider_task_id: str) -> None:
        """Have a worker look into what the provider said of an attempt: that this is its task."""
        self._redis.xadd(COMMANDS, {"v": "1", "command": "called", "token": token, "task": provider_task_id})

    def is_overdue(self, command: StreamEntry) -> bool:
        """Whether a command has waited for an hour, and no request that came before it waits any more.

        By Redis' clock, which gave all entries their ids.
        """
        seconds, _ = self._redis.time()
        came_ms = _came_ms(command.id)
        if float(seconds) - came_ms / 1000 <= _OLD_S:
            return False
        oldest: list[Any] = self._redis.xrange(REQUESTS, count=1) or []
        return not oldest or _came_ms(oldest[0][0].decode()) > came_ms

    def waiting(self, job_ids: Set[str]) -> dict[str, datetime]:
        """Those of these jobs whose requests have yet to be accepted, and since when (aware, by Redis' clock)."""
        found: dict[str, datetime] = {}
        after = "-"
        while True:
            raw: Any = self._redis.xrange(REQUESTS, min=after, count=_PAGE)
            entries = _entries(raw)
            for entry in entries:
                job_id = entry.fields.get("job", b"").decode("utf-8", "replace")
                if job_id in job_ids:
                    found[job_id] = datetime.fromtimestamp(_came_ms(entry.id) / 1000, UTC)
            if len(entries) < _PAGE:
                return found
            after = f"({entries[-1].id}"

    def put_back(self, fields: Mapping[str, str]) -> None:
        """Add what had left the stream to it once more, as its last entry."""
        entry: dict[Any, Any] = dict(fields)
        self._redis.xadd(REQUESTS, entry)

    def forget(self, records: Sequence[str]) -> None:
        """Drop idempotency records whose job is none, or none any more, so that the same key can be submitted again."""
        if records:
            self._redis.unlink(*records)

    def input(self, sha256: str) -> bytes | None:
        """The bytes of an input image; `None` when Redis does not hold it (any more)."""
        blob = self._redis.get(input_blob(sha256))
        return blob if isinstance(blob, bytes) else None

    def drop_inputs(self, sha256s: Iterable[str]) -> None:
        """Free the memory of input images that have been stored elsewhere."""
        names = [input_blob(sha256) for sha256 in sha256s]
        if names:
            self._redis.unlink(*names)


def _came_ms(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


def _entries(raw: Iterable[Iterable[object]]) -> list[StreamEntry]:
    found = []
    for entry_id, values in raw:
        pairs = values.items() if isinstance(values, dict) else ()
        fields = {name.decode("utf-8", "replace"): value for name, value in pairs}
        found.append(StreamEntry(entry_id.decode(), fields))  # type: ignore[attr-defined]  # bytes: responses not decoded
    return found
