"""The engines that run whole jobs, each on a stand of its own: started, fed, asked what is done, and ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from schemas.jobs import State
from tests.bench import orders, rivalvenv
from tests.bench.processes import process, tail
from tests.bench.stack import NO_LIMITS, REQUEST, Reelworks, polled_every, reelworks
from tests.bench.stand import Stand
from tests.support.waiting import wait_until
from workers.stackplan import ROOT


class Engine(Protocol):
    """A running engine."""

    def feed(self, number: int) -> None:
        """Ask for so many jobs, as fast as it takes them."""

    def done(self) -> int:
        """How many jobs are done since the start."""

    def ends(self, tasks: Collection[str]) -> Mapping[str, float]:
        """When the jobs of these provider tasks were done, in epoch seconds."""

    def pids(self) -> Sequence[int]:
        """Its workers."""


@dataclass(frozen=True)
class Ours:
    """Reelworks."""

    running: Reelworks

    def feed(self, number: int) -> None:
        self.running.producer.submit_many([REQUEST] * number)

    def done(self) -> int:
        return self.running.count(State.COMPLETED)

    def ends(self, tasks: Collection[str]) -> Mapping[str, float]:
        return self.running.completed(tasks)

    def pids(self) -> Sequence[int]:
        return self.running.pids()


@dataclass(frozen=True)
class Theirs:
    """An engine that is fed by a command, and records what is done in a list."""

    stand: Stand
    worker: int
    feeder: Sequence[str]
    env: Mapping[str, str] = field(repr=False)

    def feed(self, number: int) -> None:
        argv = [*self.feeder, str(number)]
        subprocess.run(argv, check=True, cwd=ROOT, env=self.env, capture_output=True, timeout=600)

    def done(self) -> int:
        return int(self.stand.redis.llen(orders.DONE))  # type: ignore[arg-type]

    def ends(self, tasks: Collection[str]) -> Mapping[str, float]:
        found: list[bytes] = self.stand.redis.lrange(orders.DONE, 0, -1)  # type: ignore[assignment]
        return {task: at for task, at in map(json.loads, found) if task in tasks}

    def pids(self) -> Sequence[int]:
        return [self.worker]


Starter = Callable[[Stand, float], AbstractContextManager[Engine]]
"""Starts an engine that polls about every so many seconds, or with fewer polls a job than one that does."""


@contextmanager
def ours(stand: Stand, poll_s: float) -> Iterator[Engine]:
    # Twice as often while nothing is known: what is learned then spares more than that.
    with reelworks(stand, {**NO_LIMITS, **polled_every(poll_s / 2)}) as running:
        yield Ours(running)


@contextmanager
def baseline(
    stand: Stand, poll_s: float, *, pool: str = "prefork", size: int = 2, feeds: str = "jobs"
) -> Iterator[Engine]:
    module = "tests.bench.baseline.app"
    worker = [sys.executable, "-m", "celery", "-A", module, "worker", "-P", pool, "-c", str(size), "-l", "info"]
    feeder = rivalvenv.call(sys.executable, module, feeds)
    with _theirs(stand, poll_s, worker, feeder, " ready.") as made:
        yield made


def baseline_threads(stand: Stand, poll_s: float) -> AbstractContextManager[Engine]:
    return baseline(stand, poll_s, pool="threads", size=32)


@contextmanager
def arq(stand: Stand, poll_s: float) -> Iterator[Engine]:
    python = rivalvenv.interpreter()
    module = "tests.bench.rivals.arq_app"
    worker = [str(python.with_name("arq")), f"{module}.WorkerSettings"]
    with _theirs(stand, poll_s, worker, rivalvenv.call(python, module, "feed"), "Starting worker") as made:
        yield made


@contextmanager
def taskiq(stand: Stand, poll_s: float) -> Iterator[Engine]:
    python = rivalvenv.interpreter()
    module = "tests.bench.rivals.taskiq_app"
    worker = [str(python.with_name("taskiq")), "worker", f"{module}:broker", "--workers", "1"]
    worker += ["--max-async-tasks", "20000"]
    with _theirs(stand, poll_s, worker, rivalvenv.call(python, module, "feed"), "Listening started") as made:
        yield made


@contextmanager
def _theirs(stand: Stand, poll_s: float, worker: Sequence[str], feeder: Sequence[str], ready: str) -> Iterator[Engine]:
    films = stand.folder / "films"
    films.mkdir()
    where = orders.environment(
        redis_url=stand.redis_url, provider_url=stand.provider.url, folder=str(films), poll_s=poll_s
    )
    # The project's folder is where the engine's own modules are found, whatever the interpreter.
    env = {**os.environ, **where, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    log = stand.folder / "worker.log"
    with process(worker, log, env=env) as started:
        wait_until(lambda: _is_ready(started, log, ready), within_s=60, what=f"{worker[0]}: {tail(log)}")
        yield Theirs(stand, started.pid, feeder, env)


def _is_ready(started: subprocess.Popen[bytes], log: Path, ready: str) -> bool:
    if started.poll() is not None:
        raise RuntimeError(f"the worker ended: {tail(log)}")
    return ready in log.read_text(errors="replace")
