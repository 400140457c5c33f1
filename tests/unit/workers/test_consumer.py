"""How often a worker asks for a broker that is away, and how often it sends events."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery
from kombu import Connection
from kombu.utils import functional

import workers.consumer
from workers.celeryconfig import config
from workers.consumer import EVENTS_WITHIN_S, LONGEST_WAIT_S, SteadyConsumer
from workers.settings import read_settings


def test_a_broker_that_is_away_for_long_is_asked_for_as_often_as_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[float] = []

    class Back(Exception):
        """The broker is."""

    def refuse(_connection: Connection) -> Any:
        tries.append(0.0)
        if len(tries) > 100:
            raise Back
        raise ConnectionRefusedError

    def wait(seconds: float) -> None:
        tries[-1] += seconds

    monkeypatch.setattr(Connection, "_connection_factory", refuse)
    monkeypatch.setattr(functional, "sleep", wait)
    with Celery("worker", set_as_current=False) as app:
        app.config_from_object(config(read_settings()))
        consumer = SteadyConsumer.__new__(SteadyConsumer)
        consumer.app, consumer.first_connection_attempt, consumer.broker_connection_retry_attempt = app, True, 0
        with pytest.raises(Back):
            consumer.ensure_connected(Connection("redis://"))
        assert app.conf.worker_consumer == f"{SteadyConsumer.__module__}:{SteadyConsumer.__name__}"
    assert len(tries) == 101
    assert max(tries) <= LONGEST_WAIT_S


class Hub:
    """An event loop that only notes what it is to do later."""

    def __init__(self) -> None:
        self.later: list[tuple[float, Any]] = []

    def call_later(self, delay_s: float, call: Any) -> None:
        self.later.append((delay_s, call))


def test_events_that_follow_on_one_another_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [1000.0]
    monkeypatch.setattr(workers.consumer.time, "monotonic", lambda: now_s[0])
    consumer = SteadyConsumer.__new__(SteadyConsumer)
    consumer.hub = hub = Hub()
    for _ in range(20):
        consumer.on_send_event_buffered()
    assert hub.later == [(EVENTS_WITHIN_S, consumer._flush_events)]
    # The timer was lost with its connection: events are sent all the same.
    now_s[0] += EVENTS_WITHIN_S
    consumer.on_send_event_buffered()
    assert len(hub.later) == 2
