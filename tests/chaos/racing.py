"""Admit lanes that race with the stack's own, each filling free slots, in a process that is killed again and again.

`python -m tests.chaos.racing` runs `LANES` of them until it is ended.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Final

import redis
from sqlalchemy.exc import OperationalError

from tasks.admitting import fill
from tasks.context import Context
from tasks.ledger import LedgerError
from tests.chaos.stage import Stage
from workers import runtime
from workers.app import app
from workers.logs import configure_logs
from workers.settings import read_settings

LANES: Final = 16
_REST_S: Final = (0.2, 1.0)
_LIVES_S: Final = (6.0, 18.0)


class Racers:
    """Keeps a process of racing lanes alive, and kills it at random. `deaths` counts those, and its burnt fuses."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.deaths = 0
        self.failed = False
        """Whether it ever ended without being killed: then nothing raced, and its log says why."""
        self._stage, self._die = stage, random.Random(f"{seed}:racers")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="racers")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            with (self._stage.folder / "logs" / "racing.log").open("ab") as log:
                racing = subprocess.Popen(
                    [sys.executable, "-m", "tests.chaos.racing"],
                    env=self._stage.environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            until = time.monotonic() + self._die.uniform(*_LIVES_S)
            while racing.poll() is None and time.monotonic() < until and not self._stop.is_set():
                self._stop.wait(0.1)
            racing.kill()
            self.failed = racing.wait() > 0 or self.failed
            self.deaths += 1


def _race(context: Context, die: random.Random) -> None:
    while True:
        with suppress(LedgerError, OperationalError, redis.RedisError):
            fill(context)
        time.sleep(die.uniform(*_REST_S))


def _end(args: threading.ExceptHookArgs) -> None:
    threading.__excepthook__(args)
    os._exit(2)  # a lane less would race on unnoticed


def main() -> int:
    configure_logs("ERROR", "console")
    threading.excepthook = _end
    app.set_default()
    context = runtime.build(read_settings())
    lanes = [threading.Thread(target=_race, args=(context, random.Random(n))) for n in range(LANES)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    return 1


if __name__ == "__main__":
    sys.exit(main())
