"""How often a worker asks for a broker that is away."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery
from kombu import Connection
from kombu.utils import functional

from workers.celeryconfig import config
from workers.reconnect import LONGEST_WAIT_S, SteadyConsumer
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
