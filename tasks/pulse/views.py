"""The live view: Celery's result record under the job id, set and published so that whoever waits is told at once."""

from __future__ import annotations

from collections.abc import Sequence

from redis import Redis

from schemas.jobs import JobView, encode_record
from schemas.keys import view

from .scripts import load


class Views:
    """Writes views. They are made from the ledger alone, so writing one again is never wrong, nor is a late one."""

    def __init__(self, redis: Redis, ttl_s: int) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._publish = load(redis, "publish_view")

    def publish(self, views: Sequence[JobView]) -> None:
        """Set and publish each view, unless a newer one of its job is there."""
        if not views:
            return
        with self._redis.pipeline(transaction=False) as pipe:
            for each in views:
                args: list[str | int] = [encode_record(each), each.seq, self._ttl_s]
                self._publish(keys=[view(each.job_id)], args=args, client=pipe)
            pipe.execute()
