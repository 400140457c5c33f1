"""Does the harm of a plan, and writes down what was in fact done and when: only deaths that happened count."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psutil
import redis
import sqlalchemy as sa

from schemas.errors import NotSubmitted
from schemas.jobs import State
from schemas.producer import Producer
from tasks.failpoints import FAILPOINTS
from tasks.ledger import LedgerError
from tasks.ledger.money import settle_later
from tasks.ledger.tables import attempts, jobs
from tests.chaos.plan import Blow, Plan
from tests.chaos.refusal import Refusal
from tests.chaos.stage import Stage

_TICK_S: Final = 0.05
_LAST_LOOK_S: Final = 2.0
_LONGER_S: Final = 6.0


@dataclass(frozen=True, slots=True)
class Done:
    """Harm that was done: `what` (a place, a process, `wipe`, `broker`), from `at` to `until` (aware, UTC)."""

    what: str
    at: datetime
    until: datetime


class Harm:
    """Works through the blows of a plan in a thread of its own."""

    def __init__(self, stage: Stage, plan: Plan) -> None:
        self.done: list[Done] = []
        self.counts: Counter[str] = Counter()
        self.wipes = 0
        self.cancelled: set[str] = set()
        self._stage, self._blows = stage, list(plan.blows)
        self._die = random.Random(f"{plan.seed}:harm")
        self._laid: set[str] = set()
        self._last: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="harm")
        self._error: BaseException | None = None
        self._helpers: list[threading.Thread] = []
        self._refusal = Refusal(stage.context.ledger.engine)

    def start(self) -> None:
        self._begun_at = time.monotonic()
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether all blows were dealt and every fuse has burnt. Raises what ended the harm early."""
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()

    @property
    def only_fuses_left(self) -> bool:
        """Whether all blows were dealt, and what is left waits for somebody to come by."""
        return not self._blows and not any(helper.is_alive() for helper in self._helpers)

    @property
    def unburnt(self) -> list[str]:
        """Places whose fuse still lies there."""
        return sorted(self._laid)

    def stop(self) -> None:
        """No more harm: what lies there is taken away."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        for helper in self._helpers:
            helper.join()
        for place in FAILPOINTS:
            with suppress(FileNotFoundError):
                (self._stage.fuses / place).unlink()

    def _run(self) -> None:
        try:
            while (self._blows or self._laid) and not self._stop.is_set():
                self._notice()
                if self._blows and self._blows[0].at_s <= time.monotonic() - self._begun_at:
                    self._deal(self._blows.pop(0))
                self._stop.wait(_TICK_S)
            ends_at = time.monotonic() + _LAST_LOOK_S
            while time.monotonic() < ends_at:  # whoever died last has to be seen, too
                self._notice()
                time.sleep(_TICK_S)
        except BaseException as error:  # noqa: BLE001 (raised by `ended`, where somebody sees it)
            self._error = error

    def _notice(self) -> None:
        """Which fuses have burnt since the last look, and which parts have another process than before."""
        for place in sorted(self._laid):
            if not (self._stage.fuses / place).exists():
                self._laid.discard(place)
                self._count("kill", place)
        for name, pid in self._stage.pids().items():
            if self._last.get(name, pid) != pid:
                self._note(f"died {name}")
            self._last[name] = pid

    def _note(self, what: str, for_s: float = 0.0) -> None:
        now = datetime.now(UTC)
        self.done.append(Done(what, datetime.fromtimestamp(now.timestamp() - for_s, UTC), now))

    def _count(self, kind: str, what: str) -> None:
        self.counts[kind] += 1
        self._note(what)

    def _deal(self, blow: Blow) -> None:
        match blow.kind:
            case "fuse":
                self._fuse(blow.target)
            case "kill":
                self._kill(blow.target)
            case "wipe":
                self._wipe()
            case "broker":
                self._end_broker(signal.Signals[blow.target])
            case "freeze":
                self._aside(self._freeze, blow.target, blow.for_s)
            case "refuse":
                self._aside(self._refuse_answers, blow.target, blow.for_s)
            case _:
                raise ValueError(f"no such blow: {blow.kind}")

    def _fuse(self, place: str) -> None:
        if place.startswith("operate."):
            self._aside(self._cancel_and_die, place)
            return
        led_to = {"settle.": self._stray, "command.put_aside.": self._cancel_too_late, "set_aside.": self._spool_junk}
        act = next((act for begin, act in led_to.items() if place.startswith(begin)), None)
        if act is None:
            self._lay(place)
        else:
            self._aside(self._lead_to, place, act)

    def _aside(self, act: Callable[..., None], *given: object) -> None:
        """Harm that takes its time, in a thread of its own."""

        def run() -> None:
            try:
                act(*given)
            except BaseException as error:  # noqa: BLE001 (raised by `ended`, where somebody sees it)
                self._error = error

        helper = threading.Thread(target=run, name="harm")
        helper.start()
        self._helpers.append(helper)

    def _lay(self, place: str) -> None:
        (self._stage.fuses / place).touch()
        self._laid.add(place)

    def _kill(self, target: str) -> None:
        name, _, child = target.partition(" ")
        while not self._stop.is_set():
            with suppress(psutil.NoSuchProcess, KeyError):
                process = psutil.Process(self._stage.pids()[name])
                children = process.children() if child else []
                if children:
                    process = self._die.choice(children)
                process.kill()
                psutil.wait_procs([process], timeout=10)
                # A worker that had no child yet was killed itself, and its death has to be explained.
                self._count("kill", f"kill {target}" if children else f"kill {name}")
                return
            time.sleep(_TICK_S)

    def _wipe(self) -> None:
        while not self._stop.is_set():
            with suppress(redis.RedisError), redis.Redis.from_url(self._stage.redis_url, socket_timeout=2) as client:
                client.flushall()
                self.wipes += 1  # after it: whoever submitted before may have lost something
                self._count("wipe", "wipe")
                return
            time.sleep(_TICK_S)

    def _end_broker(self, number: signal.Signals) -> None:
        while not self._stop.is_set():
            with suppress(psutil.NoSuchProcess, KeyError):
                process = psutil.Process(self._stage.pids()["valkey"])
                process.send_signal(number)
                psutil.wait_procs([process], timeout=10)
                self._count("broker", f"broker {number.name}")
                return
            time.sleep(_TICK_S)

    def _freeze(self, name: str, for_s: float) -> None:
        with suppress(psutil.NoSuchProcess, KeyError):
            process = psutil.Process(self._stage.pids()[name])
            family = [process, *process.children(recursive=True)]
            for one in family:
                one.suspend()
            try:
                self._stop.wait(for_s)
            finally:
                for one in family:
                    with suppress(psutil.NoSuchProcess):
                        one.resume()
            self.counts["freeze"] += 1
            self._note(f"freeze {name}", for_s)

    def _refuse_answers(self, place: str, for_s: float) -> None:
        """For a while the database takes no outcome of a create: answers have to wait in the spool."""
        if place:
            self._lay(place)
        with self._refusal.going_on():
            begun_at = time.monotonic()
            self._stop.wait(for_s)
            # A fuse of the spool needs somebody who is answered meanwhile.
            while place in self._laid and time.monotonic() < begun_at + for_s + _LONGER_S and not self._stop.is_set():
                self._stop.wait(_TICK_S)
        self.counts["refusal"] += 1
        self._note("refuse", time.monotonic() - begun_at)

    def _cancel_and_die(self, place: str) -> None:
        """An operator's process that dies while it cancels a job; a worker that does it by command may be first."""
        self._lay(place)
        while place in self._laid and not self._stop.is_set():
            with self._stage.context.ledger.read() as tx:
                open_now = list(tx.execute(sa.select(jobs.c.id).where(jobs.c.state == State.GENERATING)).scalars())
            if open_now:
                job_id = self._die.choice(sorted(open_now))
                self.cancelled.add(job_id)
                command = [sys.executable, "-m", "tests.chaos.operator", job_id]
                subprocess.run(command, env=self._stage.environment, check=False, timeout=60)
            self._stop.wait(2 * _TICK_S)

    def _lead_to(self, place: str, act: Callable[[], None]) -> None:
        """Have somebody come by a place that no job needs: do what leads there until the fuse has burnt."""
        self._lay(place)
        while place in self._laid and not self._stop.is_set():
            with suppress(LedgerError, NotSubmitted):
                act()
            self._stop.wait(1.0)

    def _completed(self, columns: Sequence[sa.Column[Any]]) -> list[Any]:
        with self._stage.context.ledger.read() as tx:
            ended = attempts.c.job_id == jobs.c.id, jobs.c.state == State.COMPLETED, attempts.c.outcome == "accepted"
            return list(tx.execute(sa.select(*columns).where(*ended).order_by(jobs.c.id).limit(1)))

    def _stray(self) -> None:
        """A task is settled that is charged already, as after an answer that came when its job had gone on."""
        for row in self._completed([attempts.c.id]):
            with self._stage.context.ledger.begin("settle") as tx:
                settle_later(tx, row.id, 0.0)

    def _cancel_too_late(self) -> None:
        for row in self._completed([jobs.c.id]):
            with Producer(self._stage.redis_url) as producer:
                producer.handle(row.id).cancel()

    def _spool_junk(self) -> None:
        self._stage.context.spool.keep("junk", {})
