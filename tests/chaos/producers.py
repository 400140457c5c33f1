"""Producers as services are: they submit with an idempotency key, repeat what was not confirmed, and watch for a view.

A wipe of Redis loses what was only in the stream, so after one they submit again whatever they have not seen accepted.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import redis
from PIL import Image

from schemas import data_url
from schemas.errors import NotSubmitted
from schemas.jobs import JobView
from schemas.producer import Producer
from tests.chaos.orders import MODEL, Order

_LOOK_S: Final = 0.2
_REPEAT_S: Final = 0.3


@dataclass
class Submitted:
    """One order as its producer knows it. `confirmed_at` is when a submission was last confirmed (aware, UTC)."""

    order: Order
    job_id: str = ""
    confirmed_at: datetime | None = None
    wipes: int = 0
    seen_at: float | None = None
    submissions: int = 0
    ids: set[str] = field(default_factory=set)

    @property
    def to_be_cancelled_now(self) -> bool:
        """Whether the job was accepted so long ago that its order says to cancel it."""
        return self.seen_at is not None and time.monotonic() >= self.seen_at + (self.order.cancel_after_s or 0)


class Producers:
    """Threads that submit the orders when their time comes, each its share. `wipes()` counts the wipes so far."""

    def __init__(
        self, redis_url: str, orders: Sequence[Order], wipes: Callable[[], int], *, keep_s: int, threads: int = 2
    ) -> None:
        self.submitted = [Submitted(order) for order in orders]
        self.unconfirmed = 0
        self._redis_url, self._wipes, self._keep_s = redis_url, wipes, keep_s
        self._stop = threading.Event()
        shares = [self.submitted[n::threads] for n in range(threads)]
        self._threads = [threading.Thread(target=self._run, args=(share,), name="producer") for share in shares]
        self._error: BaseException | None = None

    def start(self) -> None:
        self._begun_at = time.monotonic()
        for thread in self._threads:
            thread.start()

    @property
    def done(self) -> bool:
        """Whether every order was seen accepted. Raises what ended a producer."""
        if self._error is not None:
            raise self._error
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _run(self, share: Sequence[Submitted]) -> None:
        try:
            with Producer(self._redis_url, idempotency_ttl_s=self._keep_s) as producer:
                self._produce(producer, list(share))
        except BaseException as error:  # noqa: BLE001 (raised by `done`, where somebody sees it)
            self._error = error

    def _produce(self, producer: Producer, waiting: list[Submitted]) -> None:
        unseen: list[Submitted] = []
        to_cancel = [one for one in waiting if one.order.cancelled_by == "producer"]
        while (waiting or unseen or to_cancel) and not self._stop.is_set():
            now_s = time.monotonic() - self._begun_at
            while waiting and waiting[0].order.at_s <= now_s:
                one = waiting.pop(0)
                for _ in range(1 + one.order.twice):
                    self._submit(producer, one)
                unseen.append(one)
            unseen = [one for one in unseen if not self._look(producer, one)]
            to_cancel = [one for one in to_cancel if not _cancelled(producer, one)]
            self._stop.wait(_LOOK_S)

    def _submit(self, producer: Producer, one: Submitted) -> None:
        while not self._stop.is_set():
            wipes = self._wipes()
            try:
                handle = producer.submit(**request(one.order))
            except NotSubmitted:
                self.unconfirmed += 1
                self._stop.wait(_REPEAT_S)
                continue
            one.job_id, one.wipes, one.confirmed_at = handle.id, wipes, datetime.now(UTC)
            one.submissions += 1
            one.ids.add(handle.id)
            return

    def _look(self, producer: Producer, one: Submitted) -> bool:
        """Whether the order is known to be accepted; submits it again where it may be lost, or was turned away."""
        try:
            view = producer.handle(one.job_id).view()
        except redis.RedisError:
            return False
        if view is not None and not _turned_away(view):
            one.seen_at = time.monotonic()
            return True
        if view is not None or self._wipes() > one.wipes:
            self._submit(producer, one)
        return False


def _cancelled(producer: Producer, one: Submitted) -> bool:
    """Whether the producer has asked for the job to be cancelled by now, or need not."""
    if not one.to_be_cancelled_now:
        return False
    try:
        producer.handle(one.job_id).cancel()
    except NotSubmitted:
        return False
    return True


def _turned_away(view: JobView) -> bool:
    """Refused at the door (its picture was wiped): not accepted, so submitting it again is the producer's part."""
    return view.error_stage == "accept"


def request(order: Order) -> dict[str, Any]:
    """The request of an order. Mostly one picture, and one camera movement: the simulator renders each film once."""
    return {
        "model": MODEL,
        "first_frame_image": _picture(order.picture),
        "prompt": order.prompt,
        "resolution": "512P",
        "tenant": order.tenant,
        "idempotency_key": order.mark,
    }


@cache
def _picture(number: int) -> str:
    image = Image.linear_gradient("L").rotate(90).resize((310, 310 + 2 * number)).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return data_url(buffer.getvalue())
