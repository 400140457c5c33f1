"""Ends the process groups that a supervisor left behind when it died without stopping them (kill -9, out of memory).

Runs as a process of its own, by path and on the standard library alone; it starts nothing and decides nothing else.

Its standard input is a pipe whose only lasting writer is the supervisor. Lines: `+PID GRACE_S` (a group leader and the
time it has to end; written by the part itself before it becomes its program, so that none can start unseen) and `-PID`
(gone). End of file means that the supervisor is gone: whatever is still listed is ended, the last started first, with
SIGTERM to the leader and, when that has ended or its time is over, SIGKILL to the group.

    python -I -S guard.py < pipe
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

_TICK_S = 0.05


def main() -> None:
    """Read who runs from standard input; when that ends, the supervisor is gone, and all who still run are ended."""
    # Whoever ends the supervisor's terminal or session must not end its last helper first.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    grace_s: dict[int, float] = {}  # by leader, in the order of their starts
    for line in sys.stdin:
        sign, fields = line[0], line[1:].split()
        if sign == "+":
            grace_s[int(fields[0])] = float(fields[1])
        else:
            grace_s.pop(int(fields[0]), None)
    _end(grace_s)


def _end(grace_s: dict[int, float]) -> None:
    for leader in reversed(grace_s):
        deadline = time.monotonic() + grace_s[leader]
        _send(leader, signal.SIGTERM)
        while _lives(leader) and time.monotonic() < deadline:
            time.sleep(_TICK_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)


def _send(pid: int, number: int) -> bool:
    """Signal 0 sends nothing. False when there is no such process."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _lives(pid: int) -> bool:
    """An ended process that its new parent has not collected yet does not live; where /proc is, that can be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 (pathlib would double this program's start)
            return stat.read().rpartition(b") ")[2][:1] != b"Z"
    except OSError:
        return _send(pid, 0)


if __name__ == "__main__":
    main()
