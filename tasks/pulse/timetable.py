"""When each generating job is looked at next: a sorted set, and a hash with what is needed to ask for each of them.

A claim is a lease, so what a dead worker had claimed falls due again. All times are Redis' own clock.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from redis import Redis

from schemas.keys import LOOKS, TIMETABLE
from tasks.domain.knowledge import Kind

from . import keys
from .scripts import load

_KEYS: Final = (TIMETABLE, LOOKS)
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))


class Noted(NamedTuple):
    """What is noted of a job in the hash, a JSON list: first what producers may read (`schemas.keys.LOOKS`).

    `created_s` and `missing_since_s` in epoch seconds. `misses`: looks in a row that said nothing. `looked_s`: the age
    at the last look that found it running, 0 for none, and `progress_then` what was reported then.
    """

    polls: int
    progress: float | None
    provider_task_id: str
    key_alias: str
    created_s: float
    kind: str = ""
    misses: int = 0
    missing_since_s: float | None = None
    looked_s: float = 0.0
    progress_then: float | None = None

    def to_json(self) -> str:
        """The JSON list that stands in the hash."""
        return _ENCODER.encode(self)

    @classmethod
    def from_json(cls, text: str) -> Noted | None:
        """`None` for nothing, and for what cannot be read: the ledger knows it all."""
        try:
            polls, progress, task, key, created_s, kind, misses, missing_s, looked_s, progress_then = json.loads(text)
            return cls(
                int(polls),
                _number(progress),
                str(task),
                str(key),
                float(created_s),
                str(kind),
                int(misses),
                _number(missing_s),
                float(looked_s),
                _number(progress_then),
            )
        except (ValueError, TypeError):
            return None


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


@dataclass(frozen=True, slots=True)
class Due:
    """A claimed look, and what was noted of it.

    `late_s`: since it fell due. `now_s`: the claim's moment, in epoch seconds. All of it by the servers' clocks, never
    by a worker's; only `claimed_at` is of this process' monotonic clock.
    """

    job_id: str
    noted: Noted
    late_s: float
    now_s: float
    claimed_at: float = field(default_factory=time.monotonic, compare=False)

    @property
    def kind(self) -> Kind | None:
        """What decides how long it takes; `None` for the look of a version before."""
        return Kind.parse(self.noted.kind)

    @property
    def age_s(self) -> float:
        """From the create to the claim."""
        return self.now_s - self.noted.created_s

    @property
    def age_now_s(self) -> float:
        """From the create to now: asking takes its time."""
        return self.age_s + time.monotonic() - self.claimed_at

    @property
    def missing_s(self) -> float | None:
        """Since the provider first said that it has no such task; `None` if it did not."""
        since_s = self.noted.missing_since_s
        return None if since_s is None else self.now_s - since_s


@dataclass(frozen=True, slots=True)
class NextLook:
    """What to put back after a look: when to look again, and the progress if the provider gave one (0 to 1).

    `misses`: looks in a row that said nothing about the task by now; `missing`: this one said that there is none.
    `looked_s`: the age at this look if it found the task running. `counted`: false when nobody looked.
    """

    due: Due
    delay_s: float
    progress: float | None = None
    misses: int = 0
    missing: bool = False
    looked_s: float | None = None
    counted: bool = True

    def noted(self) -> Noted | None:
        """What is noted after this look; `None`: what was noted before."""
        before = self.due.noted
        if not self.counted:
            return None
        # Since the first time: other kinds of silence in between do not begin it anew.
        missing_since_s = before.missing_since_s or (self.due.now_s if self.missing else None)
        return before._replace(
            polls=before.polls + 1,
            progress=before.progress if self.progress is None else self.progress,
            misses=self.misses,
            missing_since_s=missing_since_s if self.misses else None,
            looked_s=before.looked_s if self.looked_s is None else round(self.looked_s, 3),
            progress_then=before.progress_then if self.looked_s is None else self.progress,
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """A generating job to put on the timetable. `kind`: what decides how long it takes."""

    job_id: str
    delay_s: float
    provider_task_id: str
    key_alias: str
    generating_at: datetime
    kind: Kind | None = None

    def noted(self) -> Noted:
        """What is noted of the job when nobody has looked yet."""
        kind = "" if self.kind is None else str(self.kind)
        return Noted(0, None, self.provider_task_id, self.key_alias, self.generating_at.timestamp(), kind)


class Timetable:
    """The timetable of looks."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._claim_due = load(redis, "claim_due")
        self._put_back = load(redis, "put_back")
        self._schedule = load(redis, "schedule")
        self._end_refill = load(redis, "end_refill")

    def schedule(self, entries: Sequence[Entry]) -> int:
        """Put jobs on the timetable that are not there yet; gives how many were new."""
        if not entries:
            return 0
        args: list[str | float] = []
        for entry in entries:
            args += [entry.job_id, entry.delay_s, entry.noted().to_json()]
        return int(self._schedule(keys=_KEYS, args=args))

    def claim_due(self, lease_s: float, limit: int) -> tuple[list[Due], list[str]]:
        """Claim up to `limit` jobs that are due, for `lease_s` seconds. Gives apart those of which nothing is noted."""
        now, rows = json.loads(self._claim_due(keys=_KEYS, args=[lease_s, limit]))
        now_s, claimed, unknown = float(now), [], []
        for job_id, due_s, text in rows:  # none at all is {} there, which is as empty
            noted = Noted.from_json(text)
            if noted is None:
                unknown.append(job_id)
            else:
                claimed.append(Due(job_id, noted, now_s - float(due_s), now_s))
        return claimed, unknown

    def due_now(self, job_id: str) -> bool:
        """Have a job looked at at once; false when it is not on the timetable."""
        seconds, micros = self._redis.time()
        return bool(self._redis.zadd(TIMETABLE, {job_id: seconds + micros / 1e6}, xx=True, lt=True, ch=True))

    def put_back(self, looks: Sequence[NextLook]) -> None:
        """Put claimed jobs back, each with its delay."""
        if looks:
            args: list[str | float] = []
            for each in looks:
                noted = each.noted()
                args += [each.due.job_id, each.delay_s, "" if noted is None else noted.to_json()]
            self._put_back(keys=_KEYS, args=args)

    def drop(self, job_ids: Sequence[str]) -> None:
        """Take jobs off the timetable that nobody needs to look at any more."""
        if job_ids:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.zrem(TIMETABLE, *job_ids)
                pipe.hdel(LOOKS, *job_ids)
                pipe.execute()

    def noted_of(self, job_ids: Sequence[str]) -> dict[str, Noted]:
        """What is noted of those of these jobs that the provider works on."""
        found: list[Any] = self._redis.hmget(LOOKS, list(job_ids))
        read = {job_id: Noted.from_json(text) for job_id, text in zip(job_ids, found, strict=True) if text}
        return {job_id: noted for job_id, noted in read.items() if noted is not None}

    def next_due_in_s(self) -> float | None:
        """Seconds until the earliest look (negative: overdue); `None` when the timetable is empty."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.zrange(TIMETABLE, 0, 0, withscores=True)
            (seconds, micros), earliest = pipe.execute()
        return float(earliest[0][1]) - (seconds + micros / 1e6) if earliest else None

    def is_whole(self) -> bool:
        """Whether the timetable holds every generating job, as far as is known: false after a wipe."""
        return bool(self._redis.exists(keys.TIMETABLE_WHOLE))

    def begin_refill(self) -> str:
        """Say that every generating job is about to be put on the timetable; gives a token for `end_refill`."""
        token = secrets.token_hex(8)
        self._redis.set(keys.TIMETABLE_REFILL, token)
        return token

    def end_refill(self, token: str) -> bool:
        """Say that it has been done: then the timetable is whole, unless Redis was wiped (or refilled) meanwhile.

        From then on `Views.refill` says which views are still to be published.
        """
        names = [keys.TIMETABLE_REFILL, keys.TIMETABLE_WHOLE, keys.VIEWS_REFILL]
        return bool(self._end_refill(keys=names, args=[token]))
