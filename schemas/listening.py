"""Hears of many jobs at once within an event loop: one subscribed connection for all who wait, and a look now and then.

Owns that connection, and its being made anew within the times of `waiting`. Refuses to hold the loop up: what comes is
taken in small portions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import redis
import redis.asyncio

from . import keys, waiting
from .errors import WaitTimeout
from .jobs import JobView
from .records import decode_record
from .redisclient import text_of

if TYPE_CHECKING:
    from redis.asyncio.client import PubSub

_PORTION: Final = 100
"""Jobs that are subscribed to, or looked at, in one exchange."""


class _Wait:
    """One wait: the newest view that it has not taken yet."""

    def __init__(self) -> None:
        self._view: JobView | None = None
        self._error: BaseException | None = None
        self._told = asyncio.Event()

    def tell(self, view: JobView) -> None:
        if self._view is None or view.seq >= self._view.seq:
            self._view = view
            self._told.set()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._told.set()

    async def next(self) -> JobView:
        await self._told.wait()
        self._told.clear()
        if self._view is None or self._error is not None:
            raise self._error or RuntimeError("told of nothing")
        return self._view


@dataclass(eq=False, slots=True)
class _Followed:
    """A job, who waits for it, and the record that they know, which need not be read again."""

    waits: set[_Wait] = field(default_factory=set)
    raw: str | bytes | None = None


class Listener:
    """Tells any number of waits of their jobs. Belongs to the event loop in which it is first used.

    Holds a connection while somebody waits, and takes another for each look.
    """

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis = client
        self._jobs: dict[str, _Followed] = {}
        self._subscribed: set[str] = set()
        self._unread: set[str] = set()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._away_since_s: float | None = None

    async def views(self, job_id: str, timeout: float | None) -> AsyncGenerator[JobView, None]:
        """The job's views until a terminal one: always the newest, so some may be left out.

        Raises `WaitTimeout` after `timeout` seconds, and `redis.RedisError` when Redis stays away.
        """
        until_s = None if timeout is None else asyncio.get_running_loop().time() + timeout
        with self._following(job_id) as wait:
            while True:
                try:
                    async with asyncio.timeout_at(until_s):
                        view = await wait.next()
                except TimeoutError:
                    raise WaitTimeout(job_id, timeout or 0.0) from None
                yield view
                if view.terminal:
                    return

    async def aclose(self) -> None:
        """Ends what is waited for, with `redis.ConnectionError`, and closes the connections."""
        while self._task is not None and not self._task.done():
            # More than once: what it awaits may take a cancellation for its own time-out, which comes at that moment.
            self._task.cancel()
            await asyncio.wait([self._task], timeout=1)
        self._fail_all(redis.ConnectionError("the producer was closed"))
        await self._redis.aclose()

    @contextmanager
    def _following(self, job_id: str) -> Iterator[_Wait]:
        wait, followed = _Wait(), self._jobs.setdefault(job_id, _Followed())
        followed.waits.add(wait)
        followed.raw = None  # this wait does not know it
        if job_id in self._subscribed:
            self._unread.add(job_id)
        self._changed.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._hear())
            self._task.add_done_callback(self._ended)
        try:
            yield wait
        finally:
            followed.waits.discard(wait)
            if not followed.waits:
                self._jobs.pop(job_id, None)
                self._changed.set()

    async def _hear(self) -> None:
        """Listens while somebody waits, and outlives a Redis that is away for less than `waiting.OUTAGE_S`."""
        clock = asyncio.get_running_loop().time
        self._away_since_s = None
        while self._jobs:
            try:
                await self._listen()
            except* waiting.AWAY:
                self._away_since_s = self._away_since_s or clock()
                if clock() - self._away_since_s > waiting.OUTAGE_S:
                    raise
                await asyncio.sleep(waiting.RECONNECT_S)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Whatever it ended of, those who wait have to be told."""
        error = None if task.cancelled() else task.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if error is not None:
            self._fail_all(error)

    def _fail_all(self, error: BaseException) -> None:
        for followed in self._jobs.values():
            for wait in followed.waits:
                wait.fail(error)

    async def _listen(self) -> None:
        """Over one connection, until nobody waits. Raises `redis.RedisError`, perhaps in a group."""
        channel = self._redis.pubsub()
        self._subscribed, self._unread = set(), set()
        try:
            await self._subscribe(channel)
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._read(channel))
                await self._keep_up(channel)
                reading.cancel()
        finally:
            await channel.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it without types

    async def _read(self, channel: PubSub) -> None:
        prefix = len(keys.view(""))
        while True:
            message: Any = await channel.get_message(timeout=waiting.REREAD_S)
            if message is None:
                continue
            job_id = text_of(message["channel"])[prefix:]
            if message["type"] == "message":
                self._take(job_id, message["data"])
            elif message["type"] == "subscribe":
                # From now on nothing is missed, so now the record has to be read.
                self._unread.add(job_id)
                self._changed.set()
            await asyncio.sleep(0)  # what has come already is read without a pause else

    async def _keep_up(self, channel: PubSub) -> None:
        """Subscribes to what is newly waited for, and reads records: of those, and now and then all."""
        clock = asyncio.get_running_loop().time
        all_read_s = clock()
        while self._jobs:
            try:
                async with asyncio.timeout_at(all_read_s + waiting.REREAD_S):
                    await self._changed.wait()
            except TimeoutError:
                all_read_s = clock()
                self._unread |= self._jobs.keys()
            self._changed.clear()
            await self._subscribe(channel)
            await self._look()

    async def _subscribe(self, channel: PubSub) -> None:
        for ids, command in (
            (self._jobs.keys() - self._subscribed, channel.subscribe),
            (self._subscribed - self._jobs.keys(), channel.unsubscribe),
        ):
            waiting = iter(ids)
            while portion := list(islice(waiting, _PORTION)):
                self._subscribed.symmetric_difference_update(portion)
                await command(*map(keys.view, portion))

    async def _look(self) -> None:
        while self._unread:
            portion = list(islice(self._unread, _PORTION))
            self._unread.difference_update(portion)
            async with self._redis.pipeline(transaction=False) as pipe:
                for job_id in portion:
                    pipe.get(keys.view(job_id))
                records = await pipe.execute()
            self._away_since_s = None
            for job_id, raw in zip(portion, records, strict=True):
                self._take(job_id, raw)

    def _take(self, job_id: str, raw: Any) -> None:
        followed = self._jobs.get(job_id)
        if followed is None or not isinstance(raw, str | bytes) or raw == followed.raw:
            return
        followed.raw = raw
        view = decode_record(raw)
        if view is not None:
            for wait in followed.waits:
                wait.tell(view)
