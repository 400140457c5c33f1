"""dramatiq, whose producer is the leanest of the rivals: `main` takes `bulk N`."""

from __future__ import annotations

import sys
import time
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.bench.orders import REDIS_URL, ordered

dramatiq.set_broker(RedisBroker(url=REDIS_URL))


@dramatiq.actor
def submit(order: dict[str, Any]) -> None:
    """Never worked: it is only sent here."""


def bulk(number: int) -> float:
    """Jobs a second by its call for many, a `group`."""
    messages = [submit.message(order) for order in ordered(number)]
    began_at = time.perf_counter()
    dramatiq.group(messages).run()
    return number / (time.perf_counter() - began_at)


def main() -> None:
    sys.stdout.write(f"{bulk(int(sys.argv[2]))}\n")
