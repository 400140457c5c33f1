"""`python -m tests.bench.profile poll|job [--for-s 20]`: where the CPU goes, as py-spy sees it from outside.

`poll` looks at a lanes worker with more to ask than it can, `job` at one pool after the other while whole jobs go
through. Prints the functions in which time was spent, alone and with all that they called, and writes the stacks to
`var/profiles/`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.bench import rivalvenv
from tests.bench.engines import Ours
from tests.bench.group import Place, Scale
from tests.bench.groups.polls import crowded
from tests.bench.life import live
from tests.bench.stack import NO_LIMITS, polled_every, reelworks
from tests.bench.stand import stand
from workers.embedded import interruptible
from workers.logs import configure_logs
from workers.stackplan import ROOT

_SHOWN = 30


def folded(lines: Iterable[str]) -> list[tuple[list[str], int]]:
    """Stacks, outermost first, and in how many samples each was seen."""
    found = []
    for line in lines:
        stack, _, count = line.rpartition(" ")
        if stack and count.isdecimal():
            found.append((stack.split(";"), int(count)))
    return found


def shares(stacks: Sequence[tuple[list[str], int]]) -> tuple[Counter[str], Counter[str]]:
    """Samples by function: those in it alone, and those in it or in what it called, each sample counted once."""
    alone: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for stack, count in stacks:
        names = [_function(frame) for frame in stack]
        alone[names[-1]] += count
        for name in set(names):
            within[name] += count
    return alone, within


def _function(frame: str) -> str:
    """Without the line number: `_ask (tasks/poll.py)`."""
    name, _, rest = frame.partition(" (")
    return f"{name} ({rest.rpartition(':')[0] or rest.rstrip(')')})" if rest else name


def _poll(place: Place, record: Callable[[str, Sequence[int]], None]) -> None:
    with crowded(place, "polls") as (_, worker):
        time.sleep(3)
        record("lanes", [worker])


def _job(place: Place, record: Callable[[str, Sequence[int]], None]) -> None:
    with stand(place.sub("jobs")) as made, reelworks(made, {**NO_LIMITS, **polled_every(2)}) as running:
        engine = Ours(running)
        live(engine, made, 20, 0.5, within_s=120)
        made.provider.begin(2)
        engine.feed(4000)  # more than are done meanwhile
        time.sleep(3)
        for pool in ("lanes", "create", "finish"):
            record(pool, running.pids(pool))


def _recorder(py_spy: Path, what: str, for_s: float) -> Callable[[str, Sequence[int]], None]:
    def record(name: str, pids: Sequence[int]) -> None:
        to = ROOT / "var" / "profiles" / f"{what}-{name}.folded"
        to.parent.mkdir(parents=True, exist_ok=True)
        for pid in pids:
            argv = [str(py_spy), "record", "--format", "raw", "--rate", "100", "--subprocesses", "--nonblocking"]
            argv += ["--duration", f"{for_s:g}", "--output", str(to), "--pid", str(pid)]
            subprocess.run(argv, check=True, capture_output=True, timeout=10 * for_s + 60)
        alone, within = shares(folded(to.read_text().splitlines()))
        total = sum(alone.values()) or 1
        for title, counted in (("alone", alone), ("with what it called", within)):
            sys.stdout.write(f"\n{what}, {name}: {title}, of {total} samples ({to})\n")
            for function, count in counted.most_common(_SHOWN):
                sys.stdout.write(f"{count / total:7.1%}  {function}\n")

    return record


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile", description="Where the CPU goes.")
    parser.add_argument("what", choices=["poll", "job"])
    parser.add_argument("--for-s", type=float, default=20.0, help="seconds of each recording")
    asked = parser.parse_args()
    found = shutil.which("py-spy") or shutil.which("py-spy", path=str(rivalvenv.interpreter().parent))
    if found is None:
        parser.error("py-spy is not there")
    configure_logs("ERROR", "console")
    folder = Path(tempfile.mkdtemp(prefix="reelworks-profile-"))
    place = Place(folder, Scale(quick=False), (), lambda _: None)
    try:
        with interruptible():
            {"poll": _poll, "job": _job}[asked.what](place, _recorder(Path(found), asked.what, asked.for_s))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
