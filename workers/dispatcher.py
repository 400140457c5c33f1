"""Celery's dispatcher of events, with one difference: no event is tried again and again while the broker is away.

Celery has a heartbeat repeated until it is sent, and that in the worker's own loop. A broker that takes connections and
answers nothing (stopped, or behind a network that swallows everything) held the loop there for as long as that lasted:
the worker said nothing of it, and would not have ended when told to.
"""

from __future__ import annotations

from typing import Any, Final

from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher


class OneTryDispatcher(EventDispatcher):
    """What can't be sent waits in its buffer, as all other events do, for the next that can."""

    def send(self, type: str, *args: Any, **fields: Any) -> Any:  # noqa: A002 (Celery's name for it)
        """As Celery does, once."""
        return super().send(type, *args, **{**fields, "retry": False})


class OneTryEvents(Events):
    """Named where the application is made."""

    dispatcher_cls = f"{OneTryDispatcher.__module__}:{OneTryDispatcher.__qualname__}"


EVENTS: Final = f"{OneTryEvents.__module__}:{OneTryEvents.__qualname__}"
