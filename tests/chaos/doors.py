"""The five doors, as a caller of each comes to them: with a client that has none of our code where there is one.

Owns what counts as an answer. Refuses to repeat anything: that is the caller's business (`tests.chaos.producers`).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, Protocol

import redis
import requests
from celery import Celery
from kombu.exceptions import OperationalError
from PIL import Image

from schemas import data_url
from schemas.errors import NotSubmitted
from schemas.producer import Producer
from schemas.requests import GenerationRequest, job_id_of
from tests.chaos.orders import BY_HTTP, CELERY, DROPIN, MODEL, NATIVE, PRODUCER, XADD, Order

_TIMEOUT_S: Final = 3.0
_GATEWAY_TIMEOUTS_S: Final = (1.0, 5.0)
_TAKEN: Final = frozenset({200, 202})
_TRY_LATER: Final = 429
_SERVERS_OWN: Final = 500


class Unanswered(Exception):
    """It was not said whether the request is accepted. Reaction: repeat it with the same key."""


class Refused(Exception):
    """The gateway says no to a request that it should take: the run is at an end. Names route, status and code."""


class Place(Protocol):
    """Where the doors are. `keep_s`: for how long Redis keeps a producer's keys. `hooks_url`: where callers are
    told. `keys`: the gateway's, by tenant.
    """

    @property
    def redis_url(self) -> str: ...
    @property
    def keep_s(self) -> int: ...
    @property
    def gateway_url(self) -> str: ...
    @property
    def hooks_url(self) -> str: ...
    @property
    def keys(self) -> Mapping[str, str]: ...


class Door(Protocol):
    """One caller's way in."""

    def submit(self, orders: Sequence[Order]) -> list[str]:
        """The ids of the jobs that these orders have become, in one call. Raises `Unanswered`, `Refused`."""

    def close(self) -> None: ...


def commits(order: Order) -> bool:
    """Whether its door answers only once the job stands in the database. Else it is in Redis, and goes with a wipe."""
    return order.door in BY_HTTP


def id_of(order: Order) -> str:
    """The id of an order's job, whether anybody was told or not."""
    if order.door in (XADD, CELERY):
        return order.mark  # theirs to choose, and what tells a repetition
    return job_id_of(GenerationRequest(MODEL, tenant=order.tenant, idempotency_key=order.mark))


class _ByProducer:
    def __init__(self, place: Place) -> None:
        self._producer = Producer(place.redis_url, timeout_s=_TIMEOUT_S, idempotency_ttl_s=place.keep_s)
        self._hooks_url = place.hooks_url
        self.close = self._producer.close

    def submit(self, orders: Sequence[Order]) -> list[str]:
        asked = [_with_key(order, self._hooks_url) | {"tenant": order.tenant} for order in orders]
        try:
            if len(asked) == 1:
                return [self._producer.submit(**asked[0]).id]
            return [handle.id for handle in self._producer.submit_many(asked)]
        except NotSubmitted:
            raise Unanswered from None


class _ByXadd:
    """A client of Redis in any language."""

    def __init__(self, place: Place) -> None:
        self._redis = redis.Redis.from_url(
            place.redis_url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
        )
        self._hooks_url = place.hooks_url
        self.close = self._redis.close

    def submit(self, orders: Sequence[Order]) -> list[str]:
        try:
            for order in orders:
                request = json.dumps(request_of(order, self._hooks_url) | {"tenant": order.tenant})
                self._redis.xadd("reelworks:requests", {"v": "1", "job": id_of(order), "request": request})
        except redis.RedisError:
            raise Unanswered from None
        return [id_of(order) for order in orders]


class _ByCelery:
    """An application that knows the name of the task, and nothing else of it."""

    # Without a bound Celery waits for a broker that is away until it is back.
    _SOON: Final = {
        "max_retries": 2,
        "interval_start": 0,
        "interval_step": 0.2,
        "socket_timeout": _TIMEOUT_S,
        "socket_connect_timeout": _TIMEOUT_S,
    }

    def __init__(self, place: Place) -> None:
        self._app = Celery(broker=place.redis_url, set_as_current=False)
        self._app.conf.broker_transport_options = self._SOON
        self._hooks_url = place.hooks_url
        self.close = self._app.close

    def submit(self, orders: Sequence[Order]) -> list[str]:
        try:
            for order in orders:
                request = request_of(order, self._hooks_url) | {"tenant": order.tenant}
                self._app.send_task("reelworks.enqueue", args=[request], task_id=id_of(order), queue="reelworks")
        except (OperationalError, redis.RedisError):
            raise Unanswered from None
        return [id_of(order) for order in orders]


class _Caller:
    """A caller of the gateway, with a key of each tenant."""

    def __init__(self, place: Place) -> None:
        self._url, self._keys, self._hooks_url = place.gateway_url, place.keys, place.hooks_url
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy stands between
        self.close = self._session.close

    def _post(self, path: str, tenant: str, body: Any, key: str | None = None) -> Any:
        """What the gateway says. A tenant is its key's: no body names one."""
        headers = {"Authorization": f"Bearer {self._keys[tenant]}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        try:
            answer = self._session.post(self._url + path, json=body, headers=headers, timeout=_GATEWAY_TIMEOUTS_S)
            if answer.status_code in _TAKEN:
                return answer.json()
        except requests.RequestException:  # its text can quote what was sent
            raise Unanswered from None
        if answer.status_code == _TRY_LATER or answer.status_code >= _SERVERS_OWN:
            raise Unanswered
        raise Refused(f"POST {path} was answered {answer.status_code} {_code_in(answer)}")


class _ByNative(_Caller):
    def submit(self, orders: Sequence[Order]) -> list[str]:
        tenant = orders[0].tenant
        if len(orders) == 1:
            return [self._post("/v1/jobs", tenant, request_of(orders[0], self._hooks_url), orders[0].mark)["id"]]
        said = self._post("/v1/batches", tenant, {"jobs": [_with_key(order, self._hooks_url) for order in orders]})
        return [job["id"] for job in said["jobs"]]


class _ByDropin(_Caller):
    """A client of the provider."""

    def submit(self, orders: Sequence[Order]) -> list[str]:
        (order,) = orders
        params = request_of(order, self._hooks_url)
        body = {"model": params.pop("model"), "input": [{"params": params}]}
        return [self._post("/model/v1/generation", order.tenant, body, order.mark)["id"]]


_DOORS: Final[Mapping[str, Callable[[Place], Door]]] = {
    PRODUCER: _ByProducer,
    XADD: _ByXadd,
    CELERY: _ByCelery,
    NATIVE: _ByNative,
    DROPIN: _ByDropin,
}


def opened(door: str, place: Place) -> Door:
    """A caller's client of a door."""
    return _DOORS[door](place)


def _code_in(answer: requests.Response) -> str:
    try:
        said = answer.json()
        return str(said.get("code") or said["error"]["code"])
    except (ValueError, LookupError, AttributeError):
        return ""


def _with_key(order: Order, hooks_url: str) -> dict[str, Any]:
    return request_of(order, hooks_url) | {"idempotency_key": order.mark}


def request_of(order: Order, hooks_url: str) -> dict[str, Any]:
    """The request of an order. Mostly one picture, and one camera movement: the simulator renders each film once."""
    request = {
        "model": MODEL,
        "first_frame_image": _picture(order.picture),
        "prompt": order.prompt,
        "resolution": "512P",
    }
    return request | {"callback_url": hooks_url + order.hook} if order.called_back else request


@cache
def _picture(number: int) -> str:
    image = Image.linear_gradient("L").rotate(90).resize((310, 310 + 2 * number)).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return data_url(buffer.getvalue())
