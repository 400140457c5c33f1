"""Keeps a set of processes running and leaves nothing behind: starts them in stages, restarts what dies, stops all.

It knows nothing of what the processes are (see `workers.stackplan`) and uses the standard library alone.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Final, Self

from workers.parts import Guard, Part, RunningPart

_TICK_S: Final = 0.05
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_log = logging.getLogger(__name__)

Report = Callable[[str, Mapping[str, object]], None]
"""Called with a static event name (`part_started`, `part_died`, `part_killed`, `part_stopped`) and its fields."""


class SupervisorError(Exception):
    """The stack cannot run; the message says which part, why, and what its log said last."""


class PartFailed(SupervisorError):
    """A part died too often, did not answer in time, or is a one-shot step that failed. Everything is stopped."""


@dataclass(frozen=True)
class Restarts:
    """When to start a part again, and when to give up.

    A death within `settled_s` of the start is a quick one; `limit` quick deaths in a row end everything. The delay
    before a restart doubles from `first_delay_s` up to `longest_delay_s` with each quick death.
    """

    settled_s: float = 10.0
    limit: int = 5
    first_delay_s: float = 0.2
    longest_delay_s: float = 5.0


def _log_event(event: str, fields: Mapping[str, object]) -> None:
    _log.info(event, extra=dict(fields))


class Supervisor:
    """Runs parts, in stages, for the life of this object: `with Supervisor(stages): ...`, or `run_forever()`.

    The parts of a stage start together; a stage begins when all of the one before it answer. The stop goes through the
    stages in reverse, the parts of a stage together. One thread owns all processes; nothing of it needs the main
    thread. Should this process be killed, a guard process ends the parts in its place.
    """

    def __init__(
        self,
        stages: Sequence[Sequence[Part]],
        *,
        restarts: Restarts | None = None,
        start_timeout_s: float = 60.0,
        report: Report = _log_event,
        keep_open: Sequence[int] = (),
    ) -> None:
        """`start_timeout_s` bounds each stage's wait for answers. `keep_open`: see `Guard`."""
        self._stages = stages
        self._restarts = restarts or Restarts()
        self._start_timeout_s = start_timeout_s
        self._report = report
        self._keep_open = keep_open
        self._begun: list[list[RunningPart]] = []
        self._error: Exception | None = None
        self._answers = threading.Event()
        self._finished = threading.Event()
        # Plain flags, because signal handlers set them: an Event's lock could be held by the code they interrupt.
        self._stopping = False
        self._in_a_hurry = False
        self._keeper = threading.Thread(target=self._keep, name="supervisor")

    def start(self) -> bool:
        """Start everything and wait until all of it answers. False: was told to stop before that.

        Raises PartFailed, with everything stopped again.
        """
        self._keeper.start()
        try:
            while not self._answers.wait(_TICK_S) and not self._finished.is_set():
                pass
        except BaseException:
            self.stop()
            raise
        self.check()
        return self._answers.is_set() and not self._stopping

    def stop(self) -> None:
        """Stop everything and wait until it is gone. A KeyboardInterrupt meanwhile ends the graces at once."""
        self._stopping = True
        if self._keeper.ident is None:
            return
        while True:
            try:
                # Not the thread's join: an interrupt within that makes Python 3.11 take the thread for ended.
                while not self._finished.wait(_TICK_S):
                    pass
                break
            except KeyboardInterrupt:
                self._in_a_hurry = True
        self._keeper.join()

    def check(self) -> None:
        """Raise what made the supervisor give up, if it has; everything is stopped by then."""
        if self._error is not None:
            self.stop()
            raise self._error

    def run_forever(self, on_ready: Callable[[], None] | None = None) -> None:
        """Start, call `on_ready`, and run until SIGTERM, SIGINT or SIGHUP (a second one kills). Main thread only.

        Raises PartFailed when it had to give up.
        """
        with self._signals_stop():
            try:
                if self.start() and on_ready is not None:
                    on_ready()
                while not self._finished.wait(1.0):
                    pass
            finally:
                self.stop()
        self.check()

    def pids(self) -> dict[str, int]:
        """Process ids of the parts that run at this moment, by name."""
        return {one.part.name: pid for one in self._all_begun() if (pid := one.pid) is not None}

    def _all_begun(self) -> list[RunningPart]:
        return [one for stage in self._begun for one in stage]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @contextlib.contextmanager
    def _signals_stop(self) -> Iterator[None]:
        def on_signal(_number: int, _frame: FrameType | None) -> None:
            self._in_a_hurry = self._stopping
            self._stopping = True

        with _handled_by(on_signal):
            yield

    # What follows runs in the keeper thread.

    def _keep(self) -> None:
        try:
            with contextlib.closing(Guard(self._keep_open)) as guard:
                self._run(guard)
        except Exception as error:  # noqa: BLE001 (kept, and raised where the caller is: start, check, run_forever)
            self._error = error
        finally:
            self._finished.set()

    def _run(self, guard: Guard) -> None:
        try:
            for stage in self._stages:
                self._begin(stage, guard)
            if not self._stopping:
                self._answers.set()
            while not self._stopping:
                self._tend(guard)
                time.sleep(_TICK_S)
        finally:
            for stage_begun in reversed(self._begun):
                self._end(stage_begun)

    def _begin(self, stage: Sequence[Part], guard: Guard) -> None:
        if self._stopping:
            return
        waiting = [RunningPart(part, guard) for part in stage]
        self._begun.append(list(waiting))
        for one in waiting:
            self._start(one)
        deadline = time.monotonic() + self._start_timeout_s
        while waiting and not self._stopping:
            self._tend(guard)
            waiting = [one for one in waiting if not _answers(one)]
            if waiting and time.monotonic() > deadline:
                raise _failed(waiting[0].part, f"did not answer within {self._start_timeout_s:g} s")
            time.sleep(_TICK_S)

    def _tend(self, guard: Guard) -> None:
        begun = self._all_begun()
        guard.tend(begun)
        for one in begun:
            status = one.collect()
            if status is not None:
                self._on_death(one, status)
            elif one.restart_at is not None and time.monotonic() >= one.restart_at:
                self._start(one)

    def _start(self, one: RunningPart) -> None:
        one.start()
        self._report("part_started", {"part": one.part.name, "pid": one.pid})

    def _on_death(self, one: RunningPart, status: int) -> None:
        rule, part = self._restarts, one.part
        if part.once:
            if status:
                raise _failed(part, f"failed with exit status {status}")
            return
        quick = time.monotonic() - one.started_at < rule.settled_s
        one.quick_deaths = one.quick_deaths + 1 if quick else 0
        if one.quick_deaths >= rule.limit:
            raise _failed(part, f"died {one.quick_deaths} times in a row (last exit status {status})")
        delay_s = min(rule.longest_delay_s, rule.first_delay_s * 2**one.quick_deaths)
        one.restart_at = time.monotonic() + delay_s
        self._report("part_died", {"part": part.name, "exit_status": status, "restart_in_s": delay_s})

    def _end(self, stage: Sequence[RunningPart]) -> None:
        left = [one for one in stage if one.pid is not None]
        for one in left:
            one.ask_to_end()
        begun_at = time.monotonic()
        while left:
            for one in list(left):
                if one.collect() is not None:
                    self._report("part_stopped", {"part": one.part.name})
                elif self._in_a_hurry or time.monotonic() - begun_at > one.part.grace_s:
                    self._report("part_killed", {"part": one.part.name, "grace_s": one.part.grace_s})
                    one.kill()
                else:
                    continue
                left.remove(one)
            time.sleep(_TICK_S if left else 0)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within it SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does, so that `with` blocks clean up."""
    with _handled_by(signal.default_int_handler):
        yield


@contextlib.contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
    for number, old in before.items():
        if number != signal.SIGHUP or old is not signal.SIG_IGN:  # nohup means it
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)


def _answers(one: RunningPart) -> bool:
    if one.part.once:
        return one.pid is None  # collected, and with status 0: anything else has raised
    return one.pid is not None and (one.part.ready is None or one.part.ready())


def _failed(part: Part, what: str) -> PartFailed:
    return PartFailed(f"{part.name} {what}; the last lines of {part.log_path}:\n{part.log_tail()}".rstrip())
