"""The live view: Celery's result record under the job id, set and published so that whoever waits is told at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis import Redis

from schemas.jobs import JobView
from schemas.keys import TURN_GAPS, line, view
from schemas.records import encode_record
from tasks.domain.figures import ENDED

from . import keys
from .scripts import load


@dataclass(frozen=True, slots=True)
class ViewsRefill:
    """Views that a wipe took are being published again. `place`: how far it is, in the caller's words."""

    token: str
    place: str


class Views:
    """Writes views. They are made from the ledger alone, so writing one again is never wrong, nor is a late one."""

    def __init__(self, redis: Redis, ttl_s: int) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._publish = load(redis, "publish_views")
        self._advance = load(redis, "advance_views")

    def publish(self, views: Sequence[JobView], turn_gaps_s: Mapping[str, float] | None = None) -> None:
        """Set and publish each view, unless a newer one of its job is there.

        `turn_gaps_s`: seconds between the turns of tenants, for estimates of when a job will start.
        """
        if not views:
            return
        names: list[str] = []
        args: list[str | bytes | float] = [self._ttl_s]
        for each in views:
            place = "" if each.turn_at is None else each.turn_at.timestamp()
            names += [view(each.job_id), line(each.tenant)]
            ended = ENDED.field(each.state, each.model) if each.terminal else ""
            args += [encode_record(each), each.seq, each.job_id, place, ended]
        self._publish(keys=[*names, keys.TALLY], args=args)
        if turn_gaps_s:
            self._redis.hset(TURN_GAPS, mapping={tenant: f"{gap_s:.3f}" for tenant, gap_s in turn_gaps_s.items()})

    def correct(self, views: Sequence[JobView]) -> None:
        """Set those of these views that are still there, of jobs that can't change any more; they live no longer."""
        if not views:
            return
        with self._redis.pipeline(transaction=False) as pipe:
            for each in views:
                pipe.set(view(each.job_id), encode_record(each), xx=True, keepttl=True)
            pipe.execute()

    def forget(self, job_ids: Sequence[str]) -> None:
        """Drop the views of jobs that are not kept any more."""
        if job_ids:
            self._redis.unlink(*(view(job_id) for job_id in job_ids))

    def refill(self) -> ViewsRefill | None:
        """How far the views have been published again since the timetable was last refilled; `None`: all of them."""
        found = self._redis.get(keys.VIEWS_REFILL)
        if not isinstance(found, bytes):
            return None
        token, _, place = found.decode().partition(" ")
        return ViewsRefill(token, place)

    def advance_refill(self, refill: ViewsRefill, place: str | None) -> bool:
        """Note how far it is now, `None` when all is done; false when another wipe, or somebody else, was first."""
        now = "" if place is None else f"{refill.token} {place}"
        return bool(self._advance(keys=[keys.VIEWS_REFILL], args=[f"{refill.token} {refill.place}", now]))
