"""The live view: Celery's result record under the job id, set and published so that whoever waits is told at once."""

from __future__ import annotations

from collections.abc import Sequence

from redis import Redis

from schemas.jobs import JobView, encode_record
from schemas.keys import view


class Views:
    """Writes views. They are made from the ledger alone, so writing one again is never wrong."""

    def __init__(self, redis: Redis, ttl_s: int) -> None:
        self._redis = redis
        self._ttl_s = ttl_s

    def publish(self, views: Sequence[JobView]) -> None:
        """Set and publish each view."""
        if not views:
            return
        with self._redis.pipeline(transaction=False) as pipe:
            for each in views:
                record = encode_record(each)
                pipe.set(view(each.job_id), record, ex=self._ttl_s)
                pipe.publish(view(each.job_id), record)
            pipe.execute()
