"""When each generating job is looked at next: a sorted set, and a small hash a job with all that is needed to ask.

A claim is a lease, so what a dead worker had claimed falls due again. All times are Redis' own clock.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from redis import Redis

from schemas.keys import look
from tasks.domain.knowledge import Kind

from . import keys
from .scripts import load


@dataclass(frozen=True, slots=True)
class Due:
    """A claimed look. `provider_task_id` is `None` when only the ledger knows more about the job (its hash is gone).

    `age_s`: since the create. `misses`: looks in a row that said nothing. `missing_s`: since the provider first said
    that it has no such task, `None` if it did not. `looked_s`: the age at the last look that found it running, 0 for
    none, and `progress` what was reported then. All of it by the servers' clocks, never by a worker's; only
    `claimed_at` is of this process' monotonic clock.
    """

    job_id: str
    late_s: float
    provider_task_id: str | None
    key_alias: str | None
    age_s: float
    polls: int
    misses: int = 0
    missing_s: float | None = None
    kind: Kind | None = None
    looked_s: float = 0.0
    progress: float | None = None
    claimed_at: float = field(default_factory=time.monotonic, compare=False)

    @property
    def age_now_s(self) -> float:
        """The age now: `age_s` is that at the claim, and asking takes its time."""
        return self.age_s + time.monotonic() - self.claimed_at


@dataclass(frozen=True, slots=True)
class NextLook:
    """What to put back after a look: when to look again, and the progress if the provider gave one (0 to 1).

    `misses`: looks in a row that said nothing about the task by now; `missing`: this one said that there is none.
    `looked_s`: the age at this look if it found the task running. `counted`: false when nobody looked.
    """

    job_id: str
    delay_s: float
    progress: float | None = None
    misses: int = 0
    missing: bool = False
    looked_s: float | None = None
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Entry:
    """A generating job to put on the timetable. `kind`: what decides how long it takes."""

    job_id: str
    delay_s: float
    provider_task_id: str
    key_alias: str
    generating_at: datetime
    kind: Kind | None = None


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
        args: list[str | float] = [look("")]
        for entry in entries:
            created = entry.generating_at.timestamp()
            kind = "" if entry.kind is None else str(entry.kind)
            args += [entry.job_id, entry.delay_s, entry.provider_task_id, entry.key_alias, created, kind]
        return int(self._schedule(keys=[keys.TIMETABLE], args=args))

    def claim_due(self, lease_s: float, limit: int) -> list[Due]:
        """Claim up to `limit` jobs that are due, for `lease_s` seconds."""
        rows = self._claim_due(keys=[keys.TIMETABLE], args=[lease_s, limit, look("")])
        return [_due(row) for row in json.loads(rows)]  # none at all is {} there, which is as empty

    def put_back(self, looks: Sequence[NextLook]) -> None:
        """Put claimed jobs back, each with its delay."""
        if looks:
            args: list[str | float] = [look("")]
            for each in looks:
                progress = "" if each.progress is None else each.progress
                looked = "" if each.looked_s is None else f"{each.looked_s:.3f} {progress}"
                args += [each.job_id, each.delay_s, progress, each.misses, int(each.missing), looked, int(each.counted)]
            self._put_back(keys=[keys.TIMETABLE], args=args)

    def drop(self, job_ids: Sequence[str]) -> None:
        """Take jobs off the timetable that nobody needs to look at any more."""
        if job_ids:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.zrem(keys.TIMETABLE, *job_ids)
                pipe.delete(*(look(job_id) for job_id in job_ids))
                pipe.execute()

    def next_due_in_s(self) -> float | None:
        """Seconds until the earliest look (negative: overdue); `None` when the timetable is empty."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.zrange(keys.TIMETABLE, 0, 0, withscores=True)
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


def _due(row: Sequence[str]) -> Due:
    job_id, late_s, task, key, age_s, polls, misses, missing_s, kind, looked = row
    looked_s, _, progress = looked.partition(" ")
    return Due(
        job_id=job_id,
        late_s=float(late_s),
        provider_task_id=task or None,
        key_alias=key or None,
        age_s=float(age_s or 0),
        polls=int(polls or 0),
        misses=int(misses or 0),
        missing_s=float(missing_s) if missing_s else None,
        kind=Kind.parse(kind),
        looked_s=float(looked_s or 0),
        progress=float(progress) if progress else None,
    )
