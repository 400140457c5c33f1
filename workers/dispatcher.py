"""Celery's dispatcher of events, with one difference: no event is tried again and again while the broker is away.

Celery has a heartbeat repeated until it is sent, and that in the worker's own loop. A broker that takes connections and
answers nothing (stopped, or behind a network that swallows everything) held the loop there for as long as that lasted,
and the worker said nothing of it.
"""

from __future__ import annotations

from typing import Any

from celery.events.dispatcher import EventDispatcher


class OneTryDispatcher(EventDispatcher):
    """What can't be sent waits in its buffer, as Celery's other events do, until that is flushed: with events of tasks,
    or by the consumer that has its broker back.
    """

    def send(self, type: str, *args: Any, **fields: Any) -> Any:  # noqa: A002 (Celery's name for it)
        """As Celery does, once."""
        return super().send(type, *args, **{**fields, "retry": False})
