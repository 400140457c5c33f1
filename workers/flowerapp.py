"""The Celery application for Flower, whose page of queues asks Redis by the address that everybody has.

Flower's own way reads another form of address: of one with sentinels it asks the first alone, and one with TLS it
connects to without the authority that the address names.
"""

from __future__ import annotations

from typing import Any, Final

from flower.utils import broker

from schemas.redisclient import async_client
from workers.app import app
from workers.settings import settings
from workers.transports import verified

__all__ = ["app"]

_TIMEOUT_S: Final = 2.0


class Queues(broker.RedisBase):  # type: ignore[misc]  # Flower has no types
    """The lengths of queues. One is made for each look at the page."""

    def __init__(self, broker_url: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(broker_url, *args, **kwargs)
        self.redis = async_client(verified(settings().redis_url), _TIMEOUT_S)


def install() -> None:
    """Have Flower look this way, wherever an address says more than a host and a port."""
    broker.RedisSentinel = broker.RedisSsl = Queues


install()
