"""Workers that hold countdown messages: what a restart of the broker and their own end do. Real ones, a real broker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery import Celery
from kombu.transport.redis import Channel

from tests.support.valkey import Valkey, valkey_server
from tests.support.waiting import wait_until
from workers import kombufix
from workers.celeryconfig import config
from workers.settings import read_settings

HELD = 20

Holding = tuple[subprocess.Popen[bytes], Valkey, Callable[[str, float], None]]


def worker(pool: str, broker: Valkey, folder: Path) -> subprocess.Popen[bytes]:
    """A worker with this project's settings and a task of its own."""
    env = {**os.environ, "REELWORKS_REDIS_URL": broker.url}
    options = ["-P", pool, "-c", "2", "--without-gossip", "--without-mingle", "-l", "INFO"]
    command = [sys.executable, "-m", "celery", "-A", "tests.support.echo", "worker", *options]
    with (folder / "worker.log").open("wb") as log:
        return subprocess.Popen(command, env=env, stdout=log, stderr=log)


@pytest.fixture(params=["threads", "prefork"])
def holding(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Holding]:
    """A worker of each pool that holds countdowns, its broker, and how to send it a word with a countdown."""
    with valkey_server(tmp_path) as broker:
        monkeypatch.setenv("REELWORKS_REDIS_URL", broker.url)
        running = worker(request.param, broker, tmp_path)
        try:
            with Celery("sender", set_as_current=False) as sender:
                sender.config_from_object(config(read_settings()))

                def echo(word: str, countdown: float) -> None:
                    sender.send_task("echo", args=[word], countdown=countdown, queue="lanes")

                echo("before", 0)
                wait_until(lambda: broker.client.get("said:before"), within_s=60, what="the worker")
                for number in range(HELD):
                    echo(f"held-{number}", 600)
                wait_until(lambda: not broker.client.llen("lanes"), what="the worker holding the countdowns")
                yield running, broker, echo
        finally:
            running.terminate()
            running.wait(30)


def test_a_worker_that_holds_countdowns_outlives_a_restart_of_its_broker(holding: Holding, tmp_path: Path) -> None:
    running, broker, echo = holding
    broker.stop()
    broker.start()
    echo("after", 0)
    wait_until(
        lambda: broker.client.get("said:after") or running.poll() is not None,
        within_s=30,
        what="a task after the restart",
    )
    assert running.poll() is None, (tmp_path / "worker.log").read_text()[-2000:]


def test_a_worker_that_stops_puts_back_what_it_holds(holding: Holding) -> None:
    running, broker, _ = holding
    running.terminate()
    running.wait(30)
    assert broker.client.llen("lanes") == HELD


def test_a_worker_that_stops_without_its_broker_ends_all_the_same_and_writes_no_messages_down(
    holding: Holding, tmp_path: Path
) -> None:
    running, broker, _ = holding
    broker.stop()
    running.terminate()
    running.wait(60)
    assert "DUMP" not in (tmp_path / "worker.log").read_text()


def test_the_repair_was_written_for_the_installed_kombu() -> None:
    """Fails with a new kombu: try the test above without the repair, then drop it or have it know the new one."""
    assert kombufix.is_known()


def test_a_kombu_that_is_not_known_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(_channel: Channel) -> None: ...

    monkeypatch.setattr(Channel, "close", other)
    monkeypatch.setattr(kombufix, "KNOWN", "another")
    kombufix.install()
    assert Channel.close is other
