"""The connection to Redis, once a process, and what the workers do with it by subject."""

from __future__ import annotations

from functools import cached_property

import redis

from schemas.redisclient import client

from .backlog import Backlog
from .calls import Calls
from .demand import Demand
from .gauges import Gauges
from .intake import Intake
from .lanes import LaneBeats
from .pressure import KeyPressure
from .spools import Spools
from .tally import Tally
from .timetable import Timetable
from .timings import Timings
from .views import Views

PulseError = redis.RedisError
"""Redis could not be asked, or refused. What is in it is a hint or a view: log it and go on; the sweep comes by."""


class Pulse:
    """Everything the workers keep in Redis. One object a process, made after the fork; thread-safe.

    `url` is an address of Redis (`schemas.redisaddress`); every call is bounded by `timeout_s` (a blocking read adds
    its own wait); none is repeated.
    """

    def __init__(self, url: str, *, timeout_s: float = 5.0, view_ttl_s: int = 7 * 86_400) -> None:
        # What has to be done again is done by the next turn of a lane.
        self.redis = client(url, timeout_s, health_check_interval=10, decode_responses=False)
        self._view_ttl_s = view_ttl_s
        self.tally = Tally(self.redis)

    @cached_property
    def intake(self) -> Intake:
        """The streams of requests and commands, and the images that came with requests."""
        return Intake(self.redis)

    @cached_property
    def backlog(self) -> Backlog:
        """How much waits on Celery's queues."""
        return Backlog(self.redis)

    @cached_property
    def demand(self) -> Demand:
        """Whether jobs wait while no slot is free, which whoever fills slots says."""
        return Demand(self.redis)

    @cached_property
    def timetable(self) -> Timetable:
        """Which generating job is looked at when."""
        return Timetable(self.redis)

    @cached_property
    def lanes(self) -> LaneBeats:
        """The lanes' signs of life, and their epochs."""
        return LaneBeats(self.redis)

    @cached_property
    def pressure(self) -> KeyPressure:
        """How much less is to be asked of a key."""
        return KeyPressure(self.redis)

    @cached_property
    def calls(self) -> Calls:
        """Whether calls of the provider are heard."""
        return Calls(self.redis)

    @cached_property
    def timings(self) -> Timings:
        """How long tasks take, as it was learned."""
        return Timings(self.redis)

    @cached_property
    def gauges(self) -> Gauges:
        """What Prometheus is shown of Redis."""
        return Gauges(self.redis)

    @cached_property
    def spools(self) -> Spools:
        """How many answers wait in each spool."""
        return Spools(self.redis)

    @cached_property
    def views(self) -> Views:
        """Live views for those who wait."""
        return Views(self.redis, self._view_ttl_s)

    def close(self) -> None:
        """Send what the tally holds and close all connections; the object may not be used any more."""
        self.tally.close()
        self.redis.close()
