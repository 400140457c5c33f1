"""Makes a client of Redis from an address: of a server, or of sentinels, who know which server is the primary now.

Owns its time-outs, and how it finds the primary again after a failover. Refuses to repeat a command: one whose answer
was lost may have been carried out.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from .redisaddress import Place, sentinels_of

# The library's own text has pages of options.
_NO_PRIMARY: Final = "none of the sentinels names a primary: see that one is up and knows the name after master="


def client(url: str, timeout_s: float, **options: Any) -> redis.Redis:
    """A client whose connecting and exchanges are bounded by `timeout_s`; each sentinel is given `SENTINEL_S`.

    After a failover its connections lead to the new primary; what was asked of the old one ends with an error.
    Raises `AddressInvalid`, and `ValueError` for what is no address at all.
    """
    bounded = {**_bounded(url, timeout_s), "retry": Retry(NoBackoff(), 0), **options}
    place = sentinels_of(url)
    if place is None:
        return redis.Redis.from_url(url, **bounded)
    bounded |= {**place.server_options(), "ssl": place.tls is not None}
    return redis.Redis.from_pool(pool(place.master, place.hosts, place.sentinel_options(timeout_s), **bounded))


def async_client(url: str, timeout_s: float) -> redis.asyncio.Redis:
    """The same for asyncio; it is for the event loop in which it is first used."""
    bounded = {**_bounded(url, timeout_s), "retry": AsyncRetry(NoBackoff(), 0)}
    place = sentinels_of(url)
    if place is None:
        return redis.asyncio.Redis.from_url(url, **bounded)
    bounded |= {**place.server_options(), "ssl": place.tls is not None}
    manager = _AsyncSentinel(place.hosts, sentinel_kwargs=place.sentinel_options(timeout_s))  # type: ignore[no-untyped-call]  # redis-py leaves it without types
    return redis.asyncio.Redis.from_pool(_AsyncPool(place.master, manager, **bounded))  # type: ignore[no-untyped-call]  # as above


def text_of(value: object) -> str:
    """What Redis sent, as text: the address of a client can say that it comes as such."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def pool(
    master: str, hosts: Sequence[Place], sentinel_options: Mapping[str, Any], **options: Any
) -> redis.ConnectionPool:
    """Connections to the primary that the sentinels name whenever one is made. `options`: of these connections."""
    manager = _Sentinel(hosts, sentinel_kwargs=dict(sentinel_options))  # type: ignore[no-untyped-call]  # as above
    return _Pool(master, manager, **options)  # type: ignore[no-untyped-call]  # as above


class _Sentinel(redis.sentinel.Sentinel):
    def discover_master(self, service_name: str) -> Place:
        # On a copy: who answers is put in front in a list that all threads share, by the place where it stood when this
        # began. Two threads at once would leave it there twice, and whoever it takes the place of would be forgotten.
        asked = copy.copy(self)
        asked.sentinels = list(self.sentinels)
        try:
            found: Place = super(_Sentinel, asked).discover_master(service_name)  # type: ignore[no-untyped-call]  # as above
        except redis.sentinel.MasterNotFoundError:
            raise redis.sentinel.MasterNotFoundError(_NO_PRIMARY) from None
        self.sentinels = asked.sentinels
        return found


class _Pool(redis.sentinel.SentinelConnectionPool):
    def disconnect(self, inuse_connections: bool = True) -> None:
        super().disconnect(inuse_connections)
        if inuse_connections:  # not those alone that lead to the old primary: the client is being closed
            for sentinel in self.sentinel_manager.sentinels:
                sentinel.close()


class _AsyncSentinel(redis.asyncio.sentinel.Sentinel):
    async def discover_master(self, service_name: str) -> Place:
        asked = copy.copy(self)  # as above: every await is such a moment here
        asked.sentinels = list(self.sentinels)
        try:
            found: Place = await super(_AsyncSentinel, asked).discover_master(service_name)
        except redis.asyncio.sentinel.MasterNotFoundError:
            raise redis.asyncio.sentinel.MasterNotFoundError(_NO_PRIMARY) from None
        self.sentinels = asked.sentinels
        return found


class _AsyncPool(redis.asyncio.sentinel.SentinelConnectionPool):
    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in self.sentinel_manager.sentinels:
                await sentinel.aclose()


def _bounded(url: str, timeout_s: float) -> dict[str, Any]:
    alive = {} if url.startswith("unix:") else {"socket_keepalive": True}  # a local socket knows none
    return {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, **alive}
