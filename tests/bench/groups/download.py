"""Downloads with their SHA-256: the project's own fetcher against `curl` and then `sha256sum`."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tasks.media.fetch import fetch
from tasks.outward import Reach, guarded_session
from tasks.transport import Deadlines
from tests.bench.figures import Finding, Measured, Row, Unmeasured, at_least, at_most, ratio
from tests.bench.group import Group, Place
from tests.bench.processes import MEASURED_CORES, OTHER_CORES, pin
from tests.bench.stand import provider

_ROWS = (
    Row("download_speed", "times", at_least(0.95), "curl, then sha256sum"),
    Row("download_cpu", "times", at_most(1), "curl, then sha256sum"),
)
_BLOCK = 1024 * 1024


def _measure(place: Place) -> Mapping[str, Finding]:
    if not (shutil.which("curl") and shutil.which("sha256sum")):
        missing = Unmeasured("curl and sha256sum are needed")
        return {row.name: missing for row in _ROWS}
    size_mb = place.scale.pick(512, 96)
    big = place.folder / "big"
    with big.open("wb") as file:
        for _ in range(size_mb):
            file.write(os.urandom(_BLOCK))
    target = place.folder / "fetched"
    before = os.sched_getaffinity(0)
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    sums: set[str] = set()
    with provider(place.folder / "provider", big=big) as made:
        pin([made.pid], OTHER_CORES)
        os.sched_setaffinity(0, MEASURED_CORES)
        try:
            for _ in range(place.scale.repeats + 1):
                theirs.append(_taken(lambda: sums.add(_curl(f"{made.url}/bench/big", target))))
                target.unlink()
                ours.append(_taken(lambda: sums.add(_fetch(f"{made.url}/bench/big", target))))
                target.unlink()
        finally:
            os.sched_setaffinity(0, before)
    assert len(sums) == 1, "the two did not fetch the same"
    # The first of each read the file from the disk.
    (our_s, our_cpu), (their_s, their_cpu) = zip(*ours[1:], strict=True), zip(*theirs[1:], strict=True)
    speeds = [size_mb / each for each in our_s], [size_mb / each for each in their_s]
    cpus = f"{Measured(our_cpu).value:.2f} s against {Measured(their_cpu).value:.2f} s of CPU for {size_mb} MB"
    return {
        "download_speed": ratio(
            *speeds, f"{Measured(speeds[0]).value:,.0f} MB/s against {Measured(speeds[1]).value:,.0f} MB/s"
        ),
        "download_cpu": ratio(our_cpu, their_cpu, cpus),
    }


def _taken(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the wall, and CPU seconds of this process and of those that it ran."""

    def cpu_s() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in used)

    began_at, cpu = time.perf_counter(), cpu_s()
    work()
    return time.perf_counter() - began_at, cpu_s() - cpu


def _fetch(url: str, target: Path) -> str:
    with guarded_session(Reach(private=frozenset({"127.0.0.1"}))) as session:
        return fetch(url, target, session=session, max_bytes=1 << 40, within=Deadlines(5, 30, 600)).sha256


def _curl(url: str, target: Path) -> str:
    subprocess.run(["curl", "--silent", "--fail", "--output", str(target), url], check=True, timeout=600)
    summed = subprocess.run(["sha256sum", str(target)], check=True, capture_output=True, text=True, timeout=600)
    return summed.stdout.split()[0]


GROUP = Group("download", _ROWS, _measure)
