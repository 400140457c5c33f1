"""Producers as services are: at each door one that submits with a key, and repeats what it was not told is accepted.

A wipe of Redis loses what was only there. So at the doors in Redis they watch for a view, and after a wipe submit again
whatever they have not seen accepted; what the gateway has answered is committed, and never submitted again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import redis

from schemas.errors import NotSubmitted
from schemas.jobs import JobView
from schemas.producer import Producer
from tests.chaos.doors import Door, Place, Unanswered, commits, id_of, opened
from tests.chaos.orders import DOORS, Order

_LOOK_S: Final = 0.2
_REPEAT_S: Final = 0.3


@dataclass
class Submitted:
    """One order as its producer knows it. `confirmed_at` is when a submission was last confirmed (aware, UTC); `None`:
    nobody knows whether there is such a job.
    """

    order: Order
    job_id: str
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
    """Threads that submit the orders when their time comes, one at each door. `wipes()` counts the wipes so far."""

    def __init__(self, place: Place, orders: Sequence[Order], wipes: Callable[[], int]) -> None:
        self.submitted = [Submitted(order, id_of(order)) for order in orders]
        self.unconfirmed = 0
        self._place, self._wipes = place, wipes
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(door, share), name=f"producer {door}")
            for door in DOORS
            if (share := [one for one in self.submitted if one.order.door == door])
        ]
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

    def _run(self, name: str, share: Sequence[Submitted]) -> None:
        try:
            with closing(opened(name, self._place)) as door, Producer(self._place.redis_url) as watch:
                self._produce(door, watch, share)
        except BaseException as error:  # noqa: BLE001 (raised by `done`, where somebody sees it)
            self._error = error

    def _produce(self, door: Door, watch: Producer, share: Sequence[Submitted]) -> None:
        waiting = _calls(share)
        unseen: list[Submitted] = []
        to_cancel = [one for one in share if one.order.cancelled_by == "producer"]
        while (waiting or unseen or to_cancel) and not self._stop.is_set():
            now_s = time.monotonic() - self._begun_at
            while waiting and waiting[0][0].order.at_s <= now_s:
                call = waiting.pop(0)
                for _ in range(1 + any(one.order.twice for one in call)):
                    self._submit(door, call)
                unseen += call
            unseen = [one for one in unseen if not self._look(door, watch, one)]
            to_cancel = [one for one in to_cancel if not _cancelled(watch, one)]
            self._stop.wait(_LOOK_S)

    def _submit(self, door: Door, call: Sequence[Submitted]) -> None:
        """Repeat a call until it is answered."""
        while not self._stop.is_set():
            wipes = self._wipes()
            try:
                job_ids = door.submit([one.order for one in call])
            except Unanswered:
                self.unconfirmed += 1
                self._stop.wait(_REPEAT_S)
                continue
            for one, job_id in zip(call, job_ids, strict=True):
                one.job_id, one.wipes, one.confirmed_at = job_id, wipes, datetime.now(UTC)
                one.submissions += 1
                one.ids.add(job_id)
            return

    def _look(self, door: Door, watch: Producer, one: Submitted) -> bool:
        """Whether the order is known to be accepted; submits it again where it may be lost, or was turned away."""
        if commits(one.order):
            accepted = one.confirmed_at is not None
        else:
            try:
                view = watch.handle(one.job_id).view()
            except redis.RedisError:
                return False
            accepted = view is not None and not _turned_away(view)
            if not accepted and (view is not None or self._wipes() > one.wipes):
                self._submit(door, [one])
        if accepted:
            one.seen_at = time.monotonic()
        return accepted


def _calls(share: Iterable[Submitted]) -> list[list[Submitted]]:
    """What is submitted together, in the order of its times."""
    calls: dict[int, list[Submitted]] = {}
    for one in share:
        calls.setdefault(one.order.call, []).append(one)
    return list(calls.values())


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
