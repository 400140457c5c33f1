"""Celery's transport over Redis, as our workers use it: a message is a hint here, and nothing is lost with it.

So what a worker holds it holds in its memory alone, its client is kept, and messages that can't be read are dropped
with a word in the log. kombu takes for granted that what lies on a queue was put there by kombu: text that is not JSON
ends the worker, and so does JSON of another form, often after the worker took it as its own, and would put it back for
the next. Names of tasks that do not exist are left to Celery, which refuses them by itself.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final

import structlog
from kombu.transport import TRANSPORT_ALIASES, virtual
from kombu.transport import redis as kombu_redis
from redis.exceptions import DataError, RedisError

from schemas.redisclient import pool
from tasks.hints import LANES_QUEUE, QUEUES

log = structlog.get_logger("reelworks.broker")

# What code raises that finds another form of data than it expected. All else (Redis away, no more threads) is not the
# message's fault.
_OF_THE_FORM: Final = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError, DataError)


TASK_QUEUES: Final = frozenset({LANES_QUEUE, *QUEUES.values()})
"""Where tasks wait; on the others workers are asked questions and answer them."""


def check_form(message: Any, queue: str) -> None:
    """Raises one of the errors above for a message that kombu or Celery would trip over."""
    headers, properties = message["headers"], message["properties"]
    info = properties["delivery_info"]
    texts = [message["body"], message["content-type"], message["content-encoding"], properties["delivery_tag"]]
    for text in (*texts, info["exchange"], info["routing_key"]):
        _be(isinstance(text, str))
    _be(isinstance(headers, dict))
    _be(properties.get("body_encoding") in (None, "base64"))
    if queue in TASK_QUEUES:
        _be(message["content-type"] == "application/json" and message["content-encoding"] == "utf-8")
        _check_task(headers, message["body"], in_base64=properties.get("body_encoding") is not None)


def _check_task(headers: dict[str, Any], body: str, *, in_base64: bool) -> None:
    _be(isinstance(headers["task"], str) and isinstance(headers["id"], str))
    _be(all(isinstance(headers.get(name), str | None) for name in ("eta", "expires", "root_id", "parent_id", "group")))
    soft_s, hard_s = headers.get("timelimit") or (None, None)
    _be(isinstance(soft_s, int | float | None) and isinstance(hard_s, int | float | None))
    _be("compression" not in headers)  # we send none, and what it unpacks to has no bound
    args, kwargs, embedded = json.loads(base64.b64decode(body, validate=True) if in_base64 else body)
    _be(isinstance(args, list) and isinstance(kwargs, dict) and isinstance(embedded, dict | None))


def _be(right: bool) -> None:
    if not right:
        raise TypeError("the message is of another form")


def install() -> None:
    """Have this process' Celery take Redis this way. By the schemes, which Flower and logs go on to show."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
    TRANSPORT_ALIASES["sentinel"] = f"{__name__}:SentinelTransport"


class Held(virtual.QoS):
    """The messages that a worker has taken and not acknowledged: kept in its memory alone.

    kombu keeps them in Redis as well, so that they come back when the worker was killed: eight commands a message, and
    only once the longest countdown is over. Long before, the sweep has sent others.
    """

    _delivered: Any
    _flush: Any

    def restore_unacked(self) -> Any:
        """Put what is held back onto its queue, for as long as the broker takes it."""
        self._flush()
        held = list(self._delivered.values())
        self._delivered.clear()
        try:
            for message in held:
                self.channel._restore(message)  # noqa: SLF001 (as the class that this one stands for does)
        except (RedisError, OSError) as error:
            log.warning("messages_not_put_back", held=len(held), error=type(error).__name__)
        return []  # kombu would write the messages to a file


class Channel(kombu_redis.Channel):
    """A channel that outlives text which is not JSON, and keeps its client."""

    _kept_client: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.QoS: Any = Held

    def _create_client(self, asynchronous: bool = False) -> Any:
        # Made anew for each publish and each acknowledgement, a client costs more than what it is made for.
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]
        if self._kept_client is None or self._kept_client.connection_pool is not self.pool:
            self._kept_client = super()._create_client()  # type: ignore[misc]
        return self._kept_client

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # the stubs leave it out
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError, ArithmeticError) as error:
            # Taken off the queue and not JSON; nothing has seen it yet.
            log.error("message_dropped", error=type(error).__name__)  # noqa: TRY400 (the text would be quoted)
            return True


class Transport(kombu_redis.Transport):
    """Redis, for whatever lies on its queues."""

    Channel = Channel

    def _deliver(self, message: Any, queue: Any) -> None:
        try:
            check_form(message, queue)
        except _OF_THE_FORM as error:
            log.error("message_dropped", queue=queue, error=type(error).__name__)  # noqa: TRY400 (it would be quoted)
            return
        try:
            super()._deliver(message, queue)
        except _OF_THE_FORM:
            # Half taken in, and nobody knows what it holds: this worker ends, and the message must not end the next.
            self._strike_off(message["properties"]["delivery_tag"])
            raise

    def _strike_off(self, tag: str) -> None:
        for channel in self.channels or ():
            booked: Any = channel.qos
            if tag in booked._delivered:  # noqa: SLF001 (there is no other way to ask)
                booked.ack(tag)


class SentinelChannel(Channel, kombu_redis.SentinelChannel):
    """The same, with connections that lead to the primary of the moment. The transport's options name all sentinels."""

    from_transport_options = (*kombu_redis.SentinelChannel.from_transport_options, "sentinels")
    sentinels: Any = ()
    master_name = ""
    sentinel_kwargs: Any = None

    def _sentinel_managed_pool(self, asynchronous: bool = False) -> Any:
        options = self._connparams(asynchronous)  # type: ignore[attr-defined]  # the stubs leave it out
        for name in ("host", "port"):  # the first sentinel's
            del options[name]
        return pool(self.master_name, self.sentinels, self.sentinel_kwargs or {}, **options)


class SentinelTransport(Transport):
    """The same for an address with sentinels."""

    default_port = kombu_redis.SentinelTransport.default_port
    Channel = SentinelChannel
