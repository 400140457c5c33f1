"""What `doctor` looks at in Redis, and in the sentinels before it. It changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import redis
import redis.sentinel

from schemas.redisaddress import SENTINEL_S, Sentinels, sentinels_of
from tasks.pulse import Pulse
from workers.cli.verdicts import Check, broken, ok, warning

_REDIS: Final = (6, 2)


def look_at_redis(pulse: Pulse, url: str) -> Iterator[Check]:
    """The first says whether Redis answers; the others whether it is fit for a queue of paid work."""
    place = sentinels_of(url)
    try:
        info: dict[str, Any] = pulse.redis.info()
    except redis.AuthenticationError:
        yield broken("redis", "refuses the password", "mend the password in REELWORKS_REDIS_URL")
        return
    except redis.RedisError as error:
        todo = "start it (`python -m workers up` brings its own), or set REELWORKS_REDIS_URL"
        if isinstance(error, redis.sentinel.MasterNotFoundError):
            todo = "look at the sentinels, at master=... and at sentinel_password=... in REELWORKS_REDIS_URL"
        yield broken("redis", f"does not answer ({type(error).__name__})", todo)
        if place is not None:
            yield _sentinels(place)
        return
    server = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info.get('redis_version')}"
    yield ok("redis", f"{server} answers")
    spoken = str(info.get("redis_version", "0"))  # a Valkey says here which Redis it speaks like
    if tuple(int(part) for part in spoken.split(".")[:2] if part.isdecimal()) < _REDIS:
        yield broken("redis version", spoken, "run Redis 6.2 or newer, or Valkey")
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        yield ok("redis maxmemory-policy", policy)
    else:
        todo = "set maxmemory-policy to noeviction: with any other, requests are thrown away when memory is full"
        yield warning("redis maxmemory-policy", policy, todo)
    if not info.get("aof_enabled"):
        todo = "set appendonly to yes: without it a crash of Redis loses requests that were just submitted"
        yield warning("redis persistence", "append-only file is off", todo)
    if place is not None:
        yield _sentinels(place)
        yield _replicas(int(info.get("connected_slaves", 0)), place.replicas)


def _sentinels(place: Sentinels) -> Check:
    """Each by itself: that one is gone shows nowhere else, until the others are too few for a failover."""
    missed = [f"{host}:{port} ({problem})" for host, port in place.hosts if (problem := _problem(place, host, port))]
    if missed:
        todo = "start it, or mend its address, `sentinel monitor` or its password: a failover needs most of them"
        return warning("redis sentinels", ", ".join(missed), todo)
    return ok("redis sentinels", f"{len(place.hosts)} know {place.master}")


def _problem(place: Sentinels, host: str, port: int) -> str | None:
    sentinel = redis.Redis(host=host, port=port, **place.sentinel_options(SENTINEL_S))
    try:
        known: Any = sentinel.sentinel_masters()
    except redis.RedisError as error:
        return f"does not answer: {type(error).__name__}"
    finally:
        sentinel.close()
    return None if place.master in known else f"does not know {place.master}"


def _replicas(found: int, asked_for: int) -> Check:
    if found < max(1, asked_for):
        todo = "start them: without one nothing takes the primary's place, and replicas=... has producers refused"
        return warning("redis replicas", f"{found} connected", todo)
    return ok("redis replicas", f"{found} connected")
