"""Processes that the bench starts: kept apart on cores, weighed in CPU time and memory, and ended."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from workers.stackplan import ROOT

CORES = tuple(sorted(os.sched_getaffinity(0)))
MEASURED_CORES = CORES[:1]
"""Where what is measured runs alone."""
OTHER_CORES = CORES[1:] or CORES


@contextmanager
def process(
    argv: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, in the project's folder; the whole group is ended with the block."""
    with log.open("ab") as output:
        made = subprocess.Popen(
            argv, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=ROOT, env=env, start_new_session=True
        )
    try:
        yield made
    finally:
        with suppress(ProcessLookupError):
            os.killpg(made.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            made.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(made.pid, signal.SIGKILL)
        made.wait(20)


def tail(log: Path) -> str:
    return log.read_text(errors="replace")[-800:] if log.exists() else ""


def trees(pids: Iterable[int]) -> list[psutil.Process]:
    """These processes and all below them, as far as they live."""
    found = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            top = psutil.Process(pid)
            found += [top, *top.children(recursive=True)]
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds that the trees have used, those of their ended children included."""
    total = 0.0
    for each in trees(pids):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def rss_bytes(pids: Iterable[int]) -> int:
    total = 0
    for each in trees(pids):
        with suppress(psutil.NoSuchProcess):
            total += each.memory_info().rss
    return total


@contextmanager
def aside() -> Iterator[None]:
    """This process, and all that it starts meanwhile, stays off the cores where something is measured alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, OTHER_CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pin(pids: Iterable[int], cores: Sequence[int]) -> None:
    """Have the trees, threads included, run on these cores alone."""
    for each in trees(pids):
        with suppress(psutil.NoSuchProcess):
            for thread in each.threads():
                with suppress(OSError):
                    os.sched_setaffinity(thread.id, cores)
