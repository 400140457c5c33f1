"""One supervised process: what it is, how it is started in a group of its own, and how that whole group is ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_TICK_S: Final = 0.02
_KILL_WAIT_S: Final = 5.0
_TAIL_BYTES: Final = 4000
_TAIL_LINES: Final = 15

# The shell tells the guard who it is before it becomes the program: a supervisor that dies in between still holds
# nothing back, because this process has the guard's pipe open until then. Standard input is /dev/null for the program.
_LAUNCH: Final = 'echo "+$$ $0" >&0; exec "$@" </dev/null'


@dataclass(frozen=True, kw_only=True)
class Part:
    """A process to run.

    `argv` and `env` are whole (nothing is inherited); `ready` says whether it answers (None: as soon as it runs);
    `grace_s` is how long it may take to end after SIGTERM; `once` marks a step that must end with status 0 before
    anything after it starts. Output of the process goes to `log_path`.
    """

    name: str
    argv: Sequence[str]
    log_path: Path
    cwd: Path
    env: Mapping[str, str] = field(repr=False)
    ready: Callable[[], bool] | None = field(default=None, repr=False)
    grace_s: float = 10.0
    once: bool = False

    def log_tail(self) -> str:
        """The last lines of the log, for an error message; empty when there is none."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, self.log_path.stat().st_size - _TAIL_BYTES))
                text = log.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-_TAIL_LINES:])


class Guard:
    """The supervisor's end of the guard process (see `workers.guard`): who is running, and who no longer is."""

    def __init__(self, keep_open: Sequence[int] = ()) -> None:
        """`keep_open`: descriptors (a lock) that stay open until the guard has ended too."""
        self._keep_open = tuple(keep_open)
        # Our read end stays open so that a guard that was killed breaks no writer and can be replaced.
        self._read_fd, self.write_fd = os.pipe()
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 (our own file, run by our own interpreter)
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py"))],
            stdin=self._read_fd,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=self._keep_open,
        )

    def tend(self, running: Sequence[RunningPart]) -> None:
        """Replace the guard if it died, and tell the new one who is running."""
        if self._process.poll() is not None:
            # Before there is a reader: the pipe keeps the lines, and a guard that has started knows them all.
            for one in running:
                if one.pid is not None:
                    os.write(self.write_fd, f"+{one.pid} {one.part.grace_s}\n".encode())
            self._process = self._start()

    def forget(self, pid: int) -> None:
        """Say that a process has ended and been collected: its id may be another's from now on."""
        os.write(self.write_fd, b"-%d\n" % pid)

    def close(self) -> None:
        """Let it finish: it goes on to end whatever was not forgotten."""
        os.close(self.write_fd)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILL_WAIT_S)
        os.close(self._read_fd)


class RunningPart:
    """A part and its present process. Owned by one thread."""

    def __init__(self, part: Part, guard: Guard) -> None:
        self.part = part
        self.quick_deaths = 0
        self.restart_at: float | None = None
        self.started_at = 0.0
        self._guard = guard
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of its present process; `None` while it has none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start its process, with its output at the end of its log. Raises `OSError`."""
        self.part.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.part.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 (argv is built by the stack, no text is evaluated)
                ["/bin/sh", "-c", _LAUNCH, str(self.part.grace_s), *self.part.argv],
                stdin=self._guard.write_fd,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.part.cwd,
                env=dict(self.part.env),
                start_new_session=True,
            )
        self.started_at = time.monotonic()
        self.restart_at = None

    def collect(self) -> int | None:
        """The exit status if the process has ended by now (its group is then cleared away), else None."""
        if self._process is None:
            return None
        status = self._process.poll()
        if status is not None:
            self._clear()
        return status

    def ask_to_end(self) -> None:
        """SIGTERM to the leader alone: how its own children end is its business while it lives."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        if self._process is not None:
            _signal_group(self._process.pid, signal.SIGKILL)
            try:
                self._process.wait(_KILL_WAIT_S)
            except subprocess.TimeoutExpired:  # stuck in the kernel: it stays on the guard's list
                self._process = None
            self._clear()

    def _clear(self) -> None:
        """After the leader's end: kill what it left in its group, wait until that is gone, and strike it off."""
        if self._process is None:
            return
        group = self._process.pid
        deadline = time.monotonic() + _KILL_WAIT_S
        while _signal_group(group, signal.SIGKILL) and time.monotonic() < deadline:
            time.sleep(_TICK_S)
        self._guard.forget(group)
        self._process = None


def _signal_group(group: int, number: int) -> bool:
    """False when nobody is left in the group."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        # PermissionError: some systems say so of a group that holds only ended, uncollected processes.
        return False
    return True
