"""Every public method of the producer and its handles ends, with an error that says why, while nobody answers.

What is public is found by looking, so that a new method has to be put in here.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from schemas import waiting
from schemas.aio import AsyncHandle, AsyncProducer
from schemas.errors import GatewayAway, NotSubmitted, WaitTimeout
from schemas.exchange import Deadlines
from schemas.handle import Handle
from schemas.producer import Producer
from tests.support.raw import RawServer, silence
from tests.support.requests import raw
from tests.support.valkey import Valkey

BOUND_S: Final = 30.0
"""Far above what any call is allowed: a call that is still under way then would never have ended."""
OPTIONS: Final = {"timeout_s": 0.3, "api_key": "rw_key", "gateway_deadlines": Deadlines(0.3, 0.3, 1.0)}
MANY: Final = [raw()] * 450  # three exchanges, the first of which is not answered

Method = tuple[type, str]
TOLD: Final = (NotSubmitted, redis.TimeoutError, GatewayAway, WaitTimeout)
"""Every call ends with one of these, but for those that ask nobody."""
ASK_NOBODY: Final = {"estimate", "handle", "close", "aclose", "id", "warnings"}

CALLS: dict[Method, Callable[[Any], Any]] = {
    (Producer, "submit"): lambda p: p.submit(**raw()),
    (Producer, "submit_many"): lambda p: p.submit_many(MANY),
    (Producer, "estimate"): lambda p: p.estimate(**raw()),
    (Producer, "list"): lambda p: list(p.list()),
    (Producer, "handle"): lambda p: p.handle("job-1"),
    (Producer, "close"): lambda p: p.close(),
    (Handle, "view"): lambda j: j.view(),
    (Handle, "state"): lambda j: j.state,
    (Handle, "done"): lambda j: j.done,
    (Handle, "info"): lambda j: j.info,
    (Handle, "events"): lambda j: list(j.events(timeout=0.5)),
    (Handle, "get"): lambda j: j.get(timeout=0.5),
    (Handle, "save"): lambda j: j.save("film.mp4", timeout=1.0),
    (Handle, "cancel"): lambda j: j.cancel(),
    (Handle, "retry"): lambda j: j.retry(),
}


async def _all(items: Any) -> list[Any]:
    return [each async for each in items]


ASYNC_CALLS: dict[Method, Callable[[Any], Any]] = {
    (AsyncProducer, "submit"): lambda p: p.submit(**raw()),
    (AsyncProducer, "submit_many"): lambda p: p.submit_many(MANY),
    (AsyncProducer, "estimate"): lambda p: p.estimate(**raw()),
    (AsyncProducer, "list"): lambda p: _all(p.list()),
    (AsyncProducer, "handle"): lambda p: p.handle("job-1"),
    (AsyncProducer, "aclose"): lambda p: p.aclose(),
    (AsyncHandle, "id"): lambda j: j.id,
    (AsyncHandle, "warnings"): lambda j: j.warnings,
    (AsyncHandle, "view"): lambda j: j.view(),
    (AsyncHandle, "state"): lambda j: j.state(),
    (AsyncHandle, "done"): lambda j: j.done(),
    (AsyncHandle, "info"): lambda j: j.info(),
    (AsyncHandle, "events"): lambda j: _all(j.events(timeout=0.5)),
    (AsyncHandle, "get"): lambda j: j.get(timeout=0.5),
    (AsyncHandle, "save"): lambda j: j.save("film.mp4", timeout=1.0),
    (AsyncHandle, "cancel"): lambda j: j.cancel(),
    (AsyncHandle, "retry"): lambda j: j.retry(),
}


def public(kind: type) -> set[Method]:
    return {(kind, name) for name in vars(kind) if not name.startswith("_") and not _is_slot(kind, name)}


def _is_slot(kind: type, name: str) -> bool:
    return inspect.ismemberdescriptor(vars(kind)[name])


def test_every_public_method_is_tried_here() -> None:
    assert set(CALLS) == public(Producer) | public(Handle)
    assert set(ASYNC_CALLS) == public(AsyncProducer) | public(AsyncHandle)


def name_of(method: Any) -> str:
    return f"{method[0].__name__}.{method[1]}"


@pytest.fixture
def silent(module_valkey: Valkey) -> Iterator[Callable[[], None]]:
    """Makes Redis stand still, until the test is over."""
    yield module_valkey.freeze
    module_valkey.thaw()


@pytest.fixture(autouse=True)
def short_outage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(waiting, "OUTAGE_S", 0.5)
    monkeypatch.chdir(tmp_path)


def ends(work: Callable[[], Any], name: str) -> None:
    """Does the work, in a thread of its own, and has it end as it should."""
    threads = ThreadPoolExecutor(1)
    try:
        working = threads.submit(work)
        if name in ASK_NOBODY:
            working.result(BOUND_S)
            return
        error = working.exception(BOUND_S)
        assert isinstance(error, TOLD), error
        assert str(error)
    finally:
        threads.shutdown(wait=False)


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "new"])
@pytest.mark.parametrize("method", CALLS, ids=name_of)
def test_it_ends_while_nobody_answers(
    method: Method, connected: bool, module_valkey: Valkey, silent: Callable[[], None]
) -> None:
    with ExitStack() as stack:
        gateway = stack.enter_context(RawServer(silence))
        producer = stack.enter_context(Producer(module_valkey.url, gateway_url=gateway.url, **OPTIONS))
        if connected:
            producer.submit(**raw())
        silent()
        of = producer if method[0] is Producer else producer.handle("job-1")
        ends(lambda: CALLS[method](of), method[1])


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "new"])
@pytest.mark.parametrize("method", ASYNC_CALLS, ids=name_of)
def test_it_ends_within_a_loop_while_nobody_answers(
    method: Method, connected: bool, module_valkey: Valkey, silent: Callable[[], None]
) -> None:
    async def work(gateway_url: str) -> None:
        async with AsyncProducer(module_valkey.url, gateway_url=gateway_url, **OPTIONS) as producer:
            if connected:
                await producer.submit(**raw())
            silent()
            found = ASYNC_CALLS[method](producer if method[0] is AsyncProducer else producer.handle("job-1"))
            if inspect.isawaitable(found):
                await found

    with RawServer(silence) as gateway:
        ends(lambda: asyncio.run(work(gateway.url)), method[1])


@pytest.mark.parametrize("name", ["get", "events"])
def test_a_wait_without_a_bound_of_its_own_ends_with_the_outage(
    name: str, module_valkey: Valkey, silent: Callable[[], None]
) -> None:
    async def work() -> None:
        async with AsyncProducer(module_valkey.url, **OPTIONS) as waiting:
            job = waiting.handle("job-1")
            await (job.get() if name == "get" else _all(job.events()))

    with Producer(module_valkey.url, **OPTIONS) as producer:
        job = producer.handle("job-1")
        silent()
        ends(lambda: job.get() if name == "get" else list(job.events()), name)
        ends(lambda: asyncio.run(work()), name)
