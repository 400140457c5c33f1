"""What waits on the machines' own disks, told by each, so that whoever watches the whole sees it."""

from __future__ import annotations

from redis import Redis

from . import keys


class Spools:
    """A machine that is gone for good leaves its last word: what it had kept is nowhere else."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def tell(self, machine: str, waiting: int) -> None:
        """Say how many answers wait in a machine's spool. Raises `PulseError`."""
        if waiting:
            self._redis.hset(keys.SPOOLS, machine, str(waiting))
        else:
            self._redis.hdel(keys.SPOOLS, machine)
