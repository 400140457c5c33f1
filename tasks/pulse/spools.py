"""What waits in the spools, on disks of their own, told by those who share each, so that whoever watches sees it."""

from __future__ import annotations

from redis import Redis

from . import keys


class Spools:
    """A spool that is gone for good leaves its last word: what it had kept is nowhere else."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def tell(self, spool: str, waiting: int) -> None:
        """Say how many answers wait in the spool of this name. Raises `PulseError`."""
        if waiting:
            self._redis.hset(keys.SPOOLS, spool, str(waiting))
        else:
            self._redis.hdel(keys.SPOOLS, spool)
