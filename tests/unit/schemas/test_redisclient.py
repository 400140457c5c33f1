"""Clients of Redis behind sentinels: they repeat nothing, wait for no sentinel for long, and forget none."""

from __future__ import annotations

import threading
from types import coroutine
from typing import Any

import pytest
import redis

from schemas import redisclient
from schemas.redisclient import client


def test_a_client_repeats_nothing_and_waits_for_no_sentinel_as_long_as_for_redis() -> None:
    made = client("sentinel://one,two/4?master=m", 3.0)
    assert made.get_retry().get_retries() == 0  # type: ignore[union-attr]
    pool: Any = made.connection_pool
    assert pool.connection_kwargs["db"] == 4
    for sentinel in pool.sentinel_manager.sentinels:
        options = sentinel.get_connection_kwargs()
        assert (options["retry"], options["socket_timeout"], options["socket_connect_timeout"]) == (None, 1.0, 1.0)


STATE = {"films": {"is_master": True, "is_sdown": False, "is_odown": False, "ip": "h", "port": 1}}
STATE["films"]["num-other-sentinels"] = 2


class Gone:
    def sentinel_masters(self) -> Any:
        raise redis.ConnectionError


class Living:
    """Answers those who ask at the same time, when all have asked."""

    def __init__(self, askers: int) -> None:
        self._all = threading.Barrier(askers)

    def sentinel_masters(self) -> Any:
        self._all.wait(10)
        return STATE


def test_threads_that_ask_at_once_forget_no_sentinel() -> None:
    gone, living = Gone(), Living(2)
    manager = redisclient._Sentinel([])  # type: ignore[no-untyped-call]
    manager.sentinels = [gone, living]
    threads = [threading.Thread(target=manager.discover_master, args=["films"]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert manager.sentinels == [living, gone]


def test_tasks_that_ask_at_once_forget_no_sentinel() -> None:
    @coroutine
    def others_have_their_turn() -> Any:
        yield

    class AsyncGone:
        async def sentinel_masters(self) -> Any:
            raise redis.ConnectionError

    class AsyncLiving:
        async def sentinel_masters(self) -> Any:
            await others_have_their_turn()
            return STATE

    manager = redisclient._AsyncSentinel([])  # type: ignore[no-untyped-call]
    gone, living = AsyncGone(), AsyncLiving()
    manager.sentinels = [gone, living]
    asking = [manager.discover_master("films") for _ in range(2)]
    for each in asking:
        each.send(None)
    for each in asking:
        with pytest.raises(StopIteration):
            each.send(None)
    assert manager.sentinels == [living, gone]


def test_that_no_sentinel_knows_is_said_without_pages_of_options() -> None:
    manager = redisclient._Sentinel([])  # type: ignore[no-untyped-call]
    manager.sentinels = [Gone()]
    with pytest.raises(redis.sentinel.MasterNotFoundError, match="none of the sentinels names a primary"):
        manager.discover_master("films")
