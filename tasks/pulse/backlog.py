"""How many messages wait in Celery's queues: a list each, under the queue's own name."""

from __future__ import annotations

from redis import Redis


class Backlog:
    """Reads queues; the messages in them are Celery's business."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def waiting(self, queue: str) -> int:
        """Messages that no worker has taken yet. One that a worker took and died with is not among them."""
        return int(self._redis.llen(queue))
