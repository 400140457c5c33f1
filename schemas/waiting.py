"""Waits for one job in the caller's thread: hears of its views as they are published, and reads its record besides.

Owns how long a wait bears a Redis that is away, and when a record is read again; so it is for `listening`, too. Refuses
to repeat anything but reading.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import redis

from . import keys
from .errors import WaitTimeout
from .jobs import JobView
from .records import decode_record

if TYPE_CHECKING:
    from redis.client import PubSub

REREAD_S: Final = 2.0
"""A published view can be missed; the record itself is looked at no later than this."""
OUTAGE_S: Final = 60.0
"""A wait outlives a Redis that is away for less than this."""
RECONNECT_S: Final = 0.25
"""Between two tries to reach one."""
AWAY: Final = (redis.ConnectionError, redis.TimeoutError)
"""What says that Redis is away, and may be back."""


def view_of(client: redis.Redis, job_id: str) -> JobView | None:
    """The job as it stands; `None` when it has no view (yet). Raises `redis.RedisError`."""
    raw = client.get(keys.view(job_id))
    return decode_record(raw) if isinstance(raw, str | bytes) else None


def views(client: redis.Redis, job_id: str, timeout: float | None) -> Iterator[JobView]:
    """The job's views until a terminal one, some of them repeatedly.

    Raises `WaitTimeout` after `timeout` seconds, and `redis.RedisError` when Redis stays away.
    """
    ends_at = math.inf if timeout is None else time.monotonic() + timeout
    away_since: float | None = None
    channel: PubSub | None = None
    try:
        while True:
            left_s = max(0.0, ends_at - time.monotonic())
            view = None
            try:
                if channel is None:
                    channel = _subscribed(client, job_id)
                    view = view_of(client, job_id)
                else:
                    view = _next(client, job_id, channel, min(REREAD_S, left_s))
                away_since = None
            except AWAY:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > OUTAGE_S:
                    raise
                if channel is not None:
                    channel.close()
                channel = None
                time.sleep(min(RECONNECT_S, left_s))
            if view is not None:
                yield view
                if view.terminal:
                    return
            if time.monotonic() >= ends_at:
                raise WaitTimeout(job_id, timeout or 0.0)
    finally:
        if channel is not None:
            channel.close()


def _subscribed(client: redis.Redis, job_id: str) -> PubSub:
    channel: PubSub = client.pubsub()  # type: ignore[no-untyped-call]  # redis-py leaves it without types
    channel.subscribe(keys.view(job_id))
    return channel


def _next(client: redis.Redis, job_id: str, channel: PubSub, wait_s: float) -> JobView | None:
    """The view that was published, or the record when something else came, or nothing.

    The first thing that comes is Redis's word that the subscription stands: from then on nothing is missed, so that is
    when the record has to be read.
    """
    message = channel.get_message(timeout=wait_s)
    if message is not None and message["type"] == "message":
        return decode_record(message["data"])
    return view_of(client, job_id)
