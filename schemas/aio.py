"""The producer for asyncio: what `Producer` and `Handle` do, awaited, and never holding the event loop up.

Owns the threads in which their short calls run. Refuses to have a thread for each wait: `listening` hears of all jobs
over one connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from contextvars import copy_context
from decimal import Decimal
from functools import partial
from itertools import islice
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

from .errors import Problem, WaitTimeout
from .gateway import PAGE
from .handle import Handle
from .jobs import JobEvent, JobView, State, completed
from .listening import Listener
from .producer import Producer, redis_address
from .redisclient import async_client
from .saving import SAVE_S

_P = ParamSpec("_P")
_T = TypeVar("_T")
SAVES: Final = 4
"""Films that are saved at once; they have threads of their own, so that no short call waits for one."""


class _Threads:
    """Runs calls in threads: short ones, and apart from them those that take long."""

    def __init__(self, most: int) -> None:
        self._short = ThreadPoolExecutor(most, "reelworks-call")
        self._long = ThreadPoolExecutor(SAVES, "reelworks-save")

    async def run(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await self._in(self._short, partial(call, *args, **kwargs))

    async def run_long(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await self._in(self._long, partial(call, *args, **kwargs))

    def close(self) -> None:
        for pool in (self._short, self._long):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _in(self, pool: ThreadPoolExecutor, call: Callable[[], _T]) -> _T:
        # In the caller's context: the span at work there is to be found in the thread.
        return await asyncio.get_running_loop().run_in_executor(pool, copy_context().run, call)


def _portion(jobs: Iterator[JobView]) -> list[JobView]:
    return list(islice(jobs, PAGE))


class AsyncProducer:
    """As `Producer`, and with the same arguments, for one event loop: the one in which it is first used.

    At most `threads` calls are under way at once, others wait for their turn; waits for jobs take no thread, and one
    connection in all. An await that is cancelled takes nothing back: what was asked may still be done.
    """

    def __init__(
        self, redis_url: str | None = None, *, threads: int = 16, timeout_s: float = 3.0, **options: Any
    ) -> None:
        address = redis_address(redis_url)
        self._producer = Producer(address, timeout_s=timeout_s, **options)
        self._threads = _Threads(threads)
        self._listener = Listener(async_client(address, timeout_s))

    async def submit(self, *, traceparent: str | None = None, **request: Any) -> AsyncHandle:
        """As `Producer.submit`."""
        return self._handle(await self._threads.run(self._producer.submit, traceparent=traceparent, **request))

    async def submit_many(
        self, requests: Iterable[Mapping[str, Any]], *, traceparent: str | None = None
    ) -> Sequence[AsyncHandle]:
        """As `Producer.submit_many`."""
        submitted = await self._threads.run(self._producer.submit_many, requests, traceparent=traceparent)
        return [self._handle(each) for each in submitted]

    async def estimate(self, **request: Any) -> Decimal:
        """As `Producer.estimate`."""
        return await self._threads.run(self._producer.estimate, **request)

    async def list(
        self,
        *,
        state: State | str | Iterable[State | str] = (),
        batch_id: str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[JobView, None]:
        """As `Producer.list`, to be iterated with `async for`."""
        jobs = self._producer.list(state=state, batch_id=batch_id, limit=limit)
        while portion := await self._threads.run(_portion, jobs):
            for view in portion:
                yield view

    def handle(self, job_id: str) -> AsyncHandle:
        """The handle of a job by its id; no question is asked until it is used."""
        return self._handle(self._producer.handle(job_id))

    async def aclose(self) -> None:
        """Closes the connections. Waits end with `redis.ConnectionError`; handles cannot be used any more."""
        await self._listener.aclose()
        self._threads.close()
        self._producer.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    def _handle(self, handle: Handle) -> AsyncHandle:
        return AsyncHandle(handle, self._threads, self._listener)


class AsyncHandle:
    """One job, as `Handle`. What are properties there are awaited here: `await job.state()`."""

    __slots__ = ("_handle", "_listener", "_threads")

    def __init__(self, handle: Handle, threads: _Threads, listener: Listener) -> None:
        self._handle, self._threads, self._listener = handle, threads, listener

    def __repr__(self) -> str:
        return f"AsyncHandle({self.id!r})"

    @property
    def id(self) -> str:
        """The job's id."""
        return self._handle.id

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """As `Handle.warnings`."""
        return self._handle.warnings

    async def view(self) -> JobView | None:
        """As `Handle.view`."""
        return await self._threads.run(self._handle.view)

    async def state(self) -> State | None:
        """As `Handle.state`."""
        return await self._threads.run(lambda: self._handle.state)

    async def done(self) -> bool:
        """As `Handle.done`."""
        return await self._threads.run(lambda: self._handle.done)

    async def info(self) -> dict[str, Any]:
        """As `Handle.info`."""
        return await self._threads.run(lambda: self._handle.info)

    async def events(self, timeout: float | None = None) -> AsyncGenerator[JobEvent, None]:
        """As `Handle.events`, to be iterated with `async for`."""
        last = -1
        async with aclosing(self._views(timeout)) as views:
            async for view in views:
                for event in view.events:
                    if event.seq > last:
                        last = event.seq
                        yield event

    async def get(self, timeout: float | None = None) -> JobView:
        """As `Handle.get`."""
        async with aclosing(self._views(timeout)) as views:
            async for view in views:
                last = view
        return completed(last)

    async def save(self, target: str | PathLike[str], *, timeout: float = SAVE_S) -> tuple[Path, ...]:
        """As `Handle.save`. One whose await is cancelled goes on in its thread."""
        return await self._threads.run_long(self._handle.save, target, timeout=timeout)

    async def cancel(self) -> None:
        """As `Handle.cancel`."""
        await self._threads.run(self._handle.cancel)

    async def retry(self, *, anew: bool = False) -> None:
        """As `Handle.retry`."""
        await self._threads.run(self._handle.retry, anew=anew)

    async def _views(self, timeout: float | None) -> AsyncGenerator[JobView, None]:
        if timeout is None or timeout > 0:
            async with aclosing(self._listener.views(self.id, timeout)) as views:
                async for view in views:
                    yield view
            return
        now = await self.view()
        if now is not None:
            yield now
        if now is None or not now.terminal:
            raise WaitTimeout(self.id, timeout)
