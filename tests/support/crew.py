"""Worker pools as processes of their own, which a test starts, stops, wakes, ends and kills one by one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.support.staged_worker import STAGE
from tests.support.waiting import wait_until
from workers import pools
from workers.stackplan import ROOT


class Worker:
    """One worker of one pool: its process and the process group that it leads."""

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name, self.log = name, log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                argv, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=ROOT, env=env, start_new_session=True
            )

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    @property
    def is_stopped(self) -> bool:
        return psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED

    @property
    def threads(self) -> int:
        return psutil.Process(self.process.pid).num_threads()

    def ready(self) -> Worker:
        def listens() -> bool:
            assert self.lives, f"{self.name} ended: {self.text()[-2000:]}"
            return " ready." in self.text()

        wait_until(listens, within_s=60, what=f"{self.name} to be ready")
        return self

    def stop(self) -> None:
        """As a machine that stands still: nobody of the group runs until `wake`, and nobody does when this returns."""
        os.killpg(self.process.pid, signal.SIGSTOP)
        # The signal is sent, not obeyed: each thread runs on until it notices.
        wait_until(lambda: stands_still(self.process.pid), what=f"{self.name} standing still")

    def wake(self) -> None:
        os.killpg(self.process.pid, signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to end, as whoever deploys does."""
        self.process.terminate()

    def ended(self, within_s: float) -> int:
        """Its exit status, when it has ended in time."""
        return self.process.wait(within_s)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def text(self) -> str:
        return self.log.read_text(errors="replace")


def stands_still(pid: int) -> bool:
    """Whether no thread of a process, nor of its children, takes a step."""
    with suppress(psutil.NoSuchProcess):  # a thread that ended while it was looked at
        leader = psutil.Process(pid)
        group = [leader, *leader.children(recursive=True)]
        threads = [thread.id for process in group for thread in process.threads()]
        return all(psutil.Process(thread).status() == psutil.STATUS_STOPPED for thread in threads)
    return False


class Crew:
    """All workers of a test. Whatever of them is left when the test ends is killed."""

    def __init__(self, folder: Path, env: Mapping[str, str], within: Sequence[str] = ()) -> None:
        """`within` is put before the command line that a deployment has; without it, a test can step in (`stage`)."""
        self._folder, self._env, self._within = folder, dict(env), list(within)
        self.stage = folder / "stage"
        self.stage.mkdir(parents=True)
        self.all: list[Worker] = []

    def start(self, *names: str, **settings: object) -> list[Worker]:
        """One worker of each of these pools, all ready; `settings` are variables for these alone."""
        return [worker.ready() for worker in self.begin(*names, **settings)]

    def begin(self, *names: str, **settings: object) -> list[Worker]:
        """The same, without waiting for them."""
        return [self._start(name, settings) for name in names or tuple(pools.POOLS)]

    def only(self, name: str, **settings: object) -> Worker:
        """A new worker of this pool, and no other one of it: those that there are end first."""
        self.end(name)
        (worker,) = self.start(name, **settings)
        return worker

    def _start(self, name: str, settings: Mapping[str, object]) -> Worker:
        env = {**self._env, STAGE: str(self.stage), **{key: str(value) for key, value in settings.items()}}
        number = sum(worker.name.startswith(name) for worker in self.all) + 1
        argv = [*self._within, sys.executable, "-m", "workers", "pool", name]
        if not self._within:
            argv = self._staged(name, number, env)
        worker = Worker(f"{name}{number}", argv, env, self._folder / f"{name}{number}.log")
        self.all.append(worker)
        return worker

    def _staged(self, name: str, number: int, env: Mapping[str, str]) -> list[str]:
        command = pools.command(name, pools.PoolSizes.read(env))
        # As the pool is started everywhere, with a place for the test to step in, and a name for each.
        arguments = command[command.index("celery") + 1 :]
        arguments[arguments.index("-n") + 1] = f"{name}{number}@%h"
        return [sys.executable, "-m", "tests.support.staged_worker", *arguments]

    def texts(self) -> str:
        return "\n".join(worker.text() for worker in self.all)

    def last_words(self) -> str:
        """The ends of the logs of those that live, for the message of a test that waited in vain."""
        return "\n".join(f"{worker.name}: {worker.text()[-800:]}" for worker in self.living())

    def living(self, pool: str = "") -> list[Worker]:
        return [worker for worker in self.all if worker.lives and worker.name.startswith(pool)]

    def end(self, pool: str = "") -> None:
        """Ask all workers (of a pool) to end, and wait until they have."""
        ending = self.living(pool)
        for worker in ending:
            worker.terminate()
        for worker in ending:
            worker.ended(60)

    def close(self) -> None:
        for worker in self.all:
            worker.kill()
