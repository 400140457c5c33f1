"""Celery's consumer, with two differences: it asks for a broker that is away as often after an hour as at first, and
sends the events of half a second in one message.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from celery.worker.consumer import Consumer

LONGEST_WAIT_S: Final = 2.0
"""Between two tries. Kombu's own waits grow up to 30 s, which Celery has no setting for: all of them would be added to
an outage of some minutes before a worker took up its work again."""


EVENTS_WITHIN_S: Final = 0.5
"""Flower shows what happened so much later. Celery sends each event of a worker with threads or processes by itself,
which costs up to an eighth of what the worker does."""


class SteadyConsumer(Consumer):
    """Named in the setting `worker_consumer`."""

    hub: Any
    _flush_events: Callable[[], None]
    _events_due_s = 0.0

    def ensure_connected(self, conn: Any) -> Any:
        """As Celery does, with waits between tries that do not grow beyond `LONGEST_WAIT_S`."""
        conn.ensure_connection = partial(conn.ensure_connection, interval_max=LONGEST_WAIT_S)
        return super().ensure_connected(conn)

    def on_send_event_buffered(self) -> Any:
        """Called for each event that is put into the buffer; a full one (24) is sent by itself."""
        now_s = time.monotonic()
        # By the clock, not by a mark that the timer takes back: a lost connection takes its timers with it.
        if self.hub and now_s >= self._events_due_s:
            self._events_due_s = now_s + EVENTS_WITHIN_S
            self.hub.call_later(EVENTS_WITHIN_S, self._flush_events)
