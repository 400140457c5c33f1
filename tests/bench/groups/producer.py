"""How fast jobs are handed in: one by one and many at once, validated, against Celery and the rivals' producers."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import redis
from celery import Celery

from schemas.producer import ENTRY_FORM, Producer
from schemas.requests import parse_request
from tests.bench import orders, rivalvenv
from tests.bench.figures import Finding, Measured, Row, Unmeasured, at_least, ratio
from tests.bench.group import Group, Place
from tests.bench.orders import ordered
from tests.bench.stack import REQUEST
from tests.support.valkey import Valkey, valkey_server
from workers.stackplan import ROOT

_ROWS = (
    Row("submit", "times", at_least(4), "Celery apply_async of the same dict"),
    Row("submit_many", "times", at_least(10), "Celery apply_async of the same dict"),
    Row("submit_many_vs_rivals", "times", at_least(1), "the fastest rival's way for many"),
)
_RIVALS = ("dramatiq", "arq", "taskiq")


def _measure(place: Place) -> Mapping[str, Finding]:
    number, many = place.scale.pick(3000, 600), place.scale.pick(20_000, 4000)
    celery: list[float] = []
    one: list[float] = []
    bulk: list[float] = []
    bare: list[float] = []
    rivals: dict[str, list[float]] = {name: [] for name in _RIVALS}
    missing = ""
    try:
        python = rivalvenv.interpreter()
    except rivalvenv.RivalsMissing as error:
        missing = str(error)
    with valkey_server(place.sub("valkey")) as server, Producer(server.url) as producer:
        send = _celery(server.url)
        producer.submit(**REQUEST)  # connects
        send(1)
        for _ in range(place.scale.repeats):
            celery.append(_rate(server.client, number, send))
            one.append(_rate(server.client, number, lambda count: _submit(producer, count)))
            bare.append(_rate(server.client, number, lambda count: _add_bare(server.port, count)))
            bulk.append(_rate(server.client, many, lambda count: producer.submit_many([REQUEST] * count)))
            for name in () if missing else _RIVALS:
                server.client.flushall()
                rivals[name].append(_rival(python, name, server, place.folder, number))
    found: dict[str, Finding] = {
        "submit": ratio(
            one,
            celery,
            f"{_shown(one)} against {_shown(celery)}; an entry of that length put there by a socket that does nothing"
            f" else: {_shown(bare)}",
        ),
        "submit_many": ratio(bulk, celery, f"{_shown(bulk)} against {_shown(celery)}"),
    }
    if missing:
        found["submit_many_vs_rivals"] = Unmeasured(missing)
    else:
        best = max(_RIVALS, key=lambda name: Measured(rivals[name]).value)
        note = ", ".join(f"{name} {_shown(rates)}" for name, rates in rivals.items())
        found["submit_many_vs_rivals"] = ratio(bulk, rivals[best], f"{_shown(bulk)} against {note}")
    return found


def _celery(url: str) -> Callable[[int], None]:
    app = Celery("afternoon", broker=url, set_as_current=False)
    app.conf.task_ignore_result = True

    @app.task(name="submit")
    def submit(order: Mapping[str, Any]) -> None:
        """Never worked: it is only sent here."""

    kept = list(ordered(1))

    def send(count: int) -> None:
        for _ in range(count):
            submit.apply_async(kept)

    return send


def _submit(producer: Producer, count: int) -> None:
    for _ in range(count):
        producer.submit(**REQUEST)


def _add_bare(port: int, count: int) -> None:
    """What a submission is at least: bytes that stand ready sent to Redis, and the answer awaited."""
    entry = ("v", ENTRY_FORM, "job", "0" * 36, "request", parse_request(REQUEST).to_json())
    parts = ("XADD", "bare", "*", *entry)
    command = f"*{len(parts)}\r\n" + "".join(f"${len(part)}\r\n{part}\r\n" for part in parts)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            connection.sendall(command.encode())
            answer = connection.recv(100)
            if not answer.startswith(b"$"):
                raise AssertionError(f"Redis refused the bare entry: {answer!r}")


def _rate(client: redis.Redis, number: int, send: Callable[[int], object]) -> float:
    """Jobs a second, into an empty Redis."""
    client.flushall()
    began_at = time.perf_counter()
    send(number)
    return number / (time.perf_counter() - began_at)


def _rival(python: Path, name: str, server: Valkey, folder: Path, number: int) -> float:
    where = orders.environment(redis_url=server.url, provider_url="", folder=str(folder), poll_s=2)
    argv = rivalvenv.call(python, f"tests.bench.rivals.{name}_app", "bulk", str(number))
    env = {**os.environ, **where, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=ROOT, env=env, timeout=300)
    return float(done.stdout.split()[-1])


def _shown(rates: list[float]) -> str:
    return f"{Measured(rates).value:,.0f}/s"


GROUP = Group("producer", _ROWS, _measure)
