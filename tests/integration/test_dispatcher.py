"""A heartbeat that finds a broker which takes connections and answers nothing: a worker's own loop sends it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.events.dispatcher import EventDispatcher
from celery.worker.heartbeat import Heart
from kombu import Connection
from kombu.asynchronous.timer import Timer

from tests.support.valkey import Valkey, valkey_server
from tests.support.waiting import wait_until
from workers.app import app
from workers.dispatcher import OneTryDispatcher

pytestmark = [pytest.mark.enable_socket, pytest.mark.timeout(60)]

NODE = "lanes@here"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    with valkey_server(tmp_path) as running:
        yield running
        running.thaw()


@contextmanager
def heart(server: Valkey, kind: type[EventDispatcher]) -> Iterator[Heart]:
    """Of a worker whose broker this is, and which sends its events by such a dispatcher."""
    with Celery("worker", broker=server.url, set_as_current=False) as made:
        made.events.dispatcher_cls = f"{kind.__module__}:{kind.__qualname__}"
        made.conf.broker_transport_options = {"socket_timeout": 0.2, "socket_connect_timeout": 0.2}
        with (
            made.connection_for_write() as connection,
            made.events.Dispatcher(connection, hostname=NODE) as dispatcher,
        ):
            yield Heart(Timer(), dispatcher)


def beat(heart: Heart) -> None:
    heart._send("worker-heartbeat")


def test_its_sender_goes_on_and_it_is_sent_when_the_buffer_is_flushed(server: Valkey) -> None:
    with heart(server, OneTryDispatcher) as steady, server.client.pubsub() as heard:
        heard.psubscribe("*celeryev*")

        def comes() -> bool:
            message = heard.get_message(timeout=0.1)
            return message is not None and message["type"] == "pmessage" and NODE.encode() in message["data"]

        beat(steady)
        wait_until(comes, what="a heartbeat")
        server.freeze()
        for _ in range(2):
            beat(steady)
        server.thaw()
        beat(steady)
        wait_until(comes, what="a heartbeat")
        steady.eventer.flush()
        for _ in range(2):
            wait_until(comes, what="those that could not be sent")


def test_celerys_own_holds_its_sender_until_the_broker_is_back(server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """When this fails, `workers.dispatcher` is not needed any more."""
    tries: list[Any] = []
    establish = Connection._establish_connection

    def noted(connection: Connection) -> Any:
        tries.append(connection)
        return establish(connection)

    with heart(server, EventDispatcher) as celerys:
        beat(celerys)
        server.freeze()
        monkeypatch.setattr(Connection, "_establish_connection", noted)
        sender = threading.Thread(target=beat, args=(celerys,))
        sender.start()
        wait_until(lambda: len(tries) > 3, what="try after try")
        assert sender.is_alive()
        server.thaw()
        sender.join(20)
        assert not sender.is_alive()


def test_workers_send_theirs_this_way() -> None:
    assert issubclass(app.events.Dispatcher, OneTryDispatcher)
