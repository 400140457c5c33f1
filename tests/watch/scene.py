"""A scene: one whole stack with a Prometheus of its own, each part a process that can be hurt and mended by itself."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from schemas.handle import Handle
from schemas.jobs import State
from tasks.ledger import tables
from tests.support.crew import Worker
from tests.support.gate import Gate
from tests.support.postgres import Postgres, postgres_server
from tests.support.receiver import Receiver, receiving
from tests.support.valkey import valkey_server
from tests.support.waiting import wait_until
from tests.support.works import Works, request, simulator
from tests.watch.edge import Edge
from tests.watch.prometheus import Prometheus, prometheus
from tests.watch.rules import Rule, write_shortened
from workers.probes import free_port, http_answers
from workers.stackplan import ROOT

_UNLIMITED: Final = ("--open-limit", "100000", "--rate-per-minute", "1000000")
_SETTINGS: Final = {
    "REELWORKS_OPEN_TASKS_PER_KEY": "100",
    "REELWORKS_FINISH_CONCURRENCY": "1",
    "REELWORKS_GATEWAY_PROCESSES": "1",
    "REELWORKS_POLL_INTERVAL_S": "1",
    "REELWORKS_POLL_OVERDUE_INTERVAL_S": "3",
    "REELWORKS_POLL_LOST_AFTER_S": "3",
    "REELWORKS_SETTLE_S": "1",
    "REELWORKS_WEBHOOK_FIRST_S": "1",
    "REELWORKS_WEBHOOK_LONGEST_S": "2",
    "REELWORKS_WEBHOOK_PAUSE_S": "1",
}
_EVERY_S: Final = 2.0
_START: Final = threading.Lock()
"""Stacks start one after the other: all at once, each would take as long as all; and migrations know no threads."""
_STEP_S: Final = 60.0


class Scene:
    """Running parts, and short ways to hurt, feed and ask them. Made by `scene`.

    `works` has broker, ledger, pools (`crew`) and producer; `edge` stands before the provider, and behind it
    `works.gate`.
    """

    def __init__(self, works: Works, edge: Edge, postgres: Postgres | None, receiver: Receiver, store: Path) -> None:
        self.works, self.edge, self.receiver, self.store = works, edge, receiver, store
        self._postgres = postgres
        self.prometheus: Prometheus
        self._port = free_port()
        self.gateway_url = f"http://127.0.0.1:{self._port}"
        self._gateways: list[Worker] = []

    @property
    def postgres(self) -> Postgres:
        assert self._postgres is not None, "this scene is on SQLite"
        return self._postgres

    def start_gateway(self) -> None:
        argv = [sys.executable, "-m", "workers", "gateway", "--address", "127.0.0.1", "--port", str(self._port)]
        log = self.works.crew.stage.parent / "gateway.log"
        self._gateways.append(Worker("gateway", argv, self.works.env, log))
        wait_until(lambda: http_answers(f"{self.gateway_url}/readyz"), within_s=_STEP_S, what="the gateway")

    def kill_gateway(self) -> None:
        for each in self._gateways:
            if each.lives:
                each.kill()

    def kill_pool(self, name: str) -> None:
        """At once, as by a machine that is gone: all workers of a pool."""
        for worker in self.works.crew.living(name):
            worker.kill()

    def start_pools(self) -> None:
        self.works.crew.start()

    def command(self, *words: str) -> str:
        """What an operator types behind `python -m workers`; gives what is printed."""
        done = subprocess.run(
            [sys.executable, "-m", "workers", *words],
            cwd=ROOT,
            env=self.works.env,
            check=False,
            capture_output=True,
            text=True,
            timeout=_STEP_S,
        )
        if done.returncode:
            raise AssertionError(f"workers {' '.join(words)}: {done.stderr[-1000:]}")
        return done.stdout

    def submit(self, number: int, kind: str = "plain", **more: Any) -> list[Handle]:
        """New jobs, whose kind stands in their prompts for the rules of the simulator."""
        asked = {**request(), "prompt": f"[static] {kind} shot", **more}
        return self.works.producer.submit_many([asked] * number)

    def reached(self, jobs: Sequence[Handle], *states: State) -> None:
        """Wait until all of these jobs are in one of the states."""
        self.works.wait(jobs, *states, within_s=_STEP_S)

    def count(self, state: State) -> int:
        """Jobs in a state, by the ledger."""
        with self.works.ledger.read() as tx:
            return int(tx.execute(sa.select(sa.func.count()).where(tables.jobs.c.state == state)).scalar_one())

    def uncertain(self) -> list[str]:
        """The jobs that wait for a person."""
        listed: list[dict[str, Any]] = json.loads(self.command("uncertain", "--json"))["jobs"]
        return [each["job_id"] for each in listed]

    def settled(self, state: State, at_most: int = 0) -> None:
        """Wait until hardly anybody is in a state any more."""
        wait_until(lambda: self.count(state) <= at_most, within_s=_STEP_S, what=f"no job in {state}")

    def close(self) -> None:
        self.kill_gateway()


class SlowCreates:
    """Answers to creates wait in the gate, all for about as long; to polls they do not."""

    def __init__(self, gate: Gate, for_s: float) -> None:
        self._gate, self._for_s, self._over = gate, for_s, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            self._gate.shut(b"POST ")
            self._over.wait(self._for_s)
            self._gate.let_go()

    def end(self) -> None:
        self._over.set()
        self._thread.join()


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[None]:
    """The folder is a file system of its own, of so many bytes, in memory."""
    folder.mkdir(parents=True)
    options = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "reelworks-watch", str(folder)]
    subprocess.run(options, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


@contextmanager
def scene(
    folder: Path,
    rules: Sequence[Rule],
    within_s: float,
    *,
    on_postgres: bool = False,
    disk_bytes: int | None = None,
    **settings: str,
) -> Iterator[Scene]:
    """All parts, with rules shortened to so many seconds beside those that stand; all is ended with the block."""
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        broker = stack.enter_context(valkey_server(_made(folder / "valkey")))
        postgres = stack.enter_context(postgres_server()) if on_postgres else None
        gate = Gate(stack.enter_context(simulator(folder / "simulator", more=_UNLIMITED)))
        stack.callback(gate.close)
        edge = Edge(gate.port)
        stack.callback(edge.close)
        receiver = stack.enter_context(receiving())
        store = folder / "store"
        if disk_bytes is not None:
            stack.enter_context(small_disk(store, disk_bytes))
        token = secrets.token_hex(32)
        addresses = {
            "REELWORKS_REDIS_URL": broker.url,
            "REELWORKS_DATABASE_URL": postgres.url if postgres else f"sqlite:///{folder / 'reelworks.db'}",
            "REELWORKS_PROVIDER_URL": edge.url,
            "REELWORKS_OUTPUT_PRIVATE": "127.0.0.1",
            "REELWORKS_WEBHOOK_PRIVATE": receiver.place,
            "REELWORKS_METRICS_TOKEN": token,
            "REELWORKS_GATEWAY_SECRET": secrets.token_hex(32),
            **_SETTINGS,
            **_variables(settings),
        }
        with _START:
            works = Works(folder, addresses, folder / "simulator" / "bill.jsonl")
            stack.callback(works.close)
            works.gate, works.broker = gate, broker
            made = Scene(works, edge, postgres, receiver, store)
            stack.callback(made.close)
            made.start_pools()
            made.start_gateway()
        short = folder / "shortened.yml"
        write_shortened(short, rules, within_s)
        watching = prometheus(folder / "prometheus", made.gateway_url, token, every_s=_EVERY_S, more_rules=[short])
        made.prometheus = stack.enter_context(watching)
        yield made


def _variables(settings: Mapping[str, str]) -> dict[str, str]:
    return {f"REELWORKS_{name.upper()}": value for name, value in settings.items()}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
