"""Celery's consumer, with one difference: it asks for a broker that is away as often after an hour as at first."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from celery.worker.consumer import Consumer

LONGEST_WAIT_S: Final = 2.0
"""Between two tries. Kombu's own waits grow up to 30 s, which Celery has no setting for: all of them would be added to
an outage of some minutes before a worker took up its work again."""


class SteadyConsumer(Consumer):
    """Named in the setting `worker_consumer`."""

    def ensure_connected(self, conn: Any) -> Any:
        conn.ensure_connection = partial(conn.ensure_connection, interval_max=LONGEST_WAIT_S)
        return super().ensure_connected(conn)
