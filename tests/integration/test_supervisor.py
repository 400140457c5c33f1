"""The supervisor against real child processes: restart, stop in order, kill, giving up, and leaving nothing behind; and
what keeps two stacks apart, the lock of a folder and free ports.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import wait_until
from workers import probes
from workers.folderlock import FolderInUse, FolderLock
from workers.parts import Part
from workers.stackplan import ROOT
from workers.supervisor import PartFailed, Restarts, Supervisor

BOUND_S = 20.0
QUICK = Restarts(settled_s=5.0, limit=3, first_delay_s=0.01, longest_delay_s=0.02)

# Appends "NAME up", waits to be told to end, appends "NAME down". What its signal handler sets is no Event: one that
# comes while the waiting code holds that Event's lock would wait for it for ever.
POLITE = """
import signal, sys, time
name, journal = sys.argv[1:]
def note(what):
    with open(journal, "a") as file:
        file.write(f"{name} {what}\\n")
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(True))
note("up")
while not told:
    time.sleep(0.02)
note("down")
"""

# Ignores SIGTERM, as does the child it starts; writes both process ids.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(300)"])
with open(sys.argv[2] + ".tmp", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[2] + ".tmp", sys.argv[2])
time.sleep(300)
"""

# Writes a file when it is told to end, and goes on.
DEAF = """
import pathlib, signal, sys, threading
signal.signal(signal.SIGTERM, lambda *_: pathlib.Path(sys.argv[2] + ".asked").touch())
pathlib.Path(sys.argv[2]).touch()
while True:
    threading.Event().wait(0.02)
"""

FAILING = """
import sys
print("cannot open the thing", flush=True)
sys.exit(3)
"""


def start_and_watch(supervisor: Supervisor) -> None:
    supervisor.start()
    wait_until(supervisor.check, what="giving up")


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def living_children(pid: int) -> set[int]:
    return {child.pid for child in psutil.Process(pid).children() if lives(child.pid)}


class Yard:
    """Makes parts out of scripts, and remembers where they write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "journal"

    def part(self, name: str, script: str, *, to: Path | None = None, **options: object) -> Part:
        path = self.folder / f"{name}.py"
        path.write_text(textwrap.dedent(script))
        return Part(
            name=name,
            argv=[sys.executable, "-S", str(path), name, str(to or self.journal)],
            log_path=self.folder / f"{name}.log",
            cwd=self.folder,
            env={"PATH": os.defpath},
            **options,  # type: ignore[arg-type]
        )

    def polite(self, name: str) -> Part:
        """A part that answers when it has written `NAME up` to the journal."""
        return self.part(name, POLITE, ready=lambda: f"{name} up" in self.lines())

    def lines(self) -> list[str]:
        return self.journal.read_text().splitlines() if self.journal.exists() else []


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


def test_stages_start_in_order_and_stop_in_reverse(yard: Yard) -> None:
    stages = [[yard.polite(name)] for name in ("first", "second", "third")]
    with Supervisor(stages) as supervisor:
        assert yard.lines() == ["first up", "second up", "third up"]
        pids = supervisor.pids()
        assert list(pids) == ["first", "second", "third"]
    assert yard.lines()[3:] == ["third down", "second down", "first down"]
    assert not [pid for pid in pids.values() if lives(pid)]


def test_a_part_that_dies_is_started_again(yard: Yard) -> None:
    with Supervisor([[yard.polite("only")]], restarts=QUICK) as supervisor:
        first = supervisor.pids()["only"]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: yard.lines().count("only up") == 2, what="the second start")
        assert supervisor.pids()["only"] != first
        supervisor.check()


def test_what_a_dead_part_leaves_in_its_group_ends_before_the_restart(yard: Yard, tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    part = yard.part("stubborn", STUBBORN, to=ids, ready=ids.exists, grace_s=0.1)
    with Supervisor([[part]], restarts=QUICK):
        leader, child = map(int, ids.read_text().split())
        ids.unlink()
        os.kill(leader, signal.SIGKILL)
        wait_until(ids.exists, what="the second start")
        assert not lives(child)


def test_a_part_that_ignores_the_stop_is_killed_with_its_children(yard: Yard, tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    part = yard.part("stubborn", STUBBORN, to=ids, ready=ids.exists, grace_s=0.1)
    events: list[str] = []
    with Supervisor([[part]], report=lambda event, _fields: events.append(event)):
        pids = list(map(int, ids.read_text().split()))
        assert [lives(pid) for pid in pids] == [True, True]
    assert [lives(pid) for pid in pids] == [False, False]
    assert events == ["part_started", "part_killed"]


def test_gives_up_on_a_part_that_keeps_dying_and_stops_the_others(yard: Yard) -> None:
    supervisor = Supervisor([[yard.polite("sound")], [yard.part("broken", FAILING)]], restarts=QUICK)
    with pytest.raises(PartFailed) as caught:
        start_and_watch(supervisor)
    assert str(caught.value).startswith("broken died 3 times in a row (last exit status 3); the last lines of ")
    assert "cannot open the thing" in str(caught.value)
    assert yard.lines() == ["sound up", "sound down"]
    assert supervisor.pids() == {}


def test_a_failing_step_stops_the_start_without_another_try(yard: Yard) -> None:
    stages = [[yard.polite("before")], [yard.part("step", FAILING, once=True)], [yard.polite("after")]]
    with pytest.raises(PartFailed, match=r"^step failed with exit status 3; .*\n.*cannot open the thing"):
        Supervisor(stages, restarts=QUICK).start()
    assert yard.lines() == ["before up", "before down"]


def test_a_step_ends_before_the_next_stage_begins(yard: Yard) -> None:
    step = yard.part("step", "import sys; print('done', file=open(sys.argv[2], 'a'))", once=True)
    with Supervisor([[step], [yard.polite("after")]]) as supervisor:
        assert yard.lines() == ["done", "after up"]
        assert list(supervisor.pids()) == ["after"]


def test_a_part_that_never_answers_is_named(yard: Yard) -> None:
    mute = yard.part("mute", POLITE, ready=lambda: False)
    with pytest.raises(PartFailed, match=r"^mute did not answer within 0\.3 s"):
        Supervisor([[mute]], start_timeout_s=0.3).start()


def test_a_program_that_is_missing_is_said(yard: Yard, tmp_path: Path) -> None:
    part = Part(name="ghost", argv=["/no/such/program"], log_path=tmp_path / "log", cwd=tmp_path, env={})
    supervisor = Supervisor([[part, yard.polite("other")]], restarts=QUICK)
    with pytest.raises(PartFailed, match=r"(?s)^ghost died 3 times.*/no/such/program"):
        start_and_watch(supervisor)


def test_an_error_in_a_readiness_check_stops_everything(yard: Yard) -> None:
    def ready() -> bool:
        raise LookupError("no such place")

    with pytest.raises(LookupError):
        Supervisor([[yard.polite("fine")], [yard.part("odd", POLITE, ready=ready)]]).start()
    assert "fine down" in yard.lines()


def test_an_environment_is_neither_inherited_nor_shown(yard: Yard) -> None:
    part = yard.part("shy", "import os, sys; print(sorted(os.environ), file=open(sys.argv[2], 'a'))", once=True)
    assert os.defpath not in repr(part)
    with Supervisor([[part]]):
        assert "HOME" not in yard.journal.read_text()


# A supervisor in a process of its own, as the command line runs it. Under nohup, tests hand down an ignored SIGHUP.
RUNNER = """
import os, signal, sys
from pathlib import Path
from tests.integration.test_supervisor import STUBBORN, Yard
from workers.folderlock import FolderLock
from workers.supervisor import Supervisor

signal.signal(signal.SIGHUP, signal.SIG_DFL)
folder = Path(sys.argv[1])
yard, ids = Yard(folder), folder / "ids"
lock = FolderLock(folder / "lock")
descriptor = lock.acquire()
stubborn = yard.part("stubborn", STUBBORN, to=ids, ready=ids.exists, grace_s=0.3)
supervisor = Supervisor([[yard.polite("polite")], [stubborn]], keep_open=[descriptor])
def on_ready():
    (folder / "ready.tmp").write_text("\\n".join(map(str, supervisor.pids().values())))
    os.rename(folder / "ready.tmp", folder / "ready")
supervisor.run_forever(on_ready)
print("ended")
"""


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """The process, and the ids of everything it started, the guard included."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        wait_until((tmp_path / "ready").exists, what="the runner")
        started = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        assert len(started) == 4  # guard, polite, stubborn, and the child of stubborn
        yield process, started
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything(
    runner: tuple[subprocess.Popen[str], list[int]], yard: Yard, number: signal.Signals
) -> None:
    process, started = runner
    process.send_signal(number)
    output, _ = process.communicate(timeout=BOUND_S)
    assert (process.returncode, output) == (0, "ended\n")
    assert not [pid for pid in started if lives(pid)]
    assert yard.lines() == ["polite up", "polite down"]
    FolderLock(yard.folder / "lock").acquire(wait_s=0)


def test_what_a_killed_supervisor_leaves_is_ended_before_the_folder_is_free(
    runner: tuple[subprocess.Popen[str], list[int]], yard: Yard
) -> None:
    process, started = runner
    process.kill()
    process.wait(BOUND_S)
    lock = FolderLock(yard.folder / "lock")
    lock.acquire(wait_s=BOUND_S)
    try:
        # Nothing but the guard itself, which is at its last instruction, can be alive once the lock is free.
        wait_until(lambda: not [pid for pid in started if lives(pid)], what="the end of what was left")
        assert "polite down" in yard.lines()
    finally:
        lock.release()


def test_the_guard_is_replaced_when_it_dies(runner: tuple[subprocess.Popen[str], list[int]], yard: Yard) -> None:
    process, started = runner
    supervised = {int(pid) for pid in (yard.folder / "ready").read_text().split()}
    (guard,) = living_children(process.pid) - supervised
    os.kill(guard, signal.SIGKILL)
    wait_until(lambda: len(living_children(process.pid) - {guard}) == 3, what="a new guard")
    process.kill()
    wait_until(lambda: not [pid for pid in started if lives(pid)], what="the end of what was left")


def test_a_second_stack_in_a_folder_is_refused_by_name(
    runner: tuple[subprocess.Popen[str], list[int]], yard: Yard
) -> None:
    process, _ = runner
    with pytest.raises(FolderInUse, match=f"in use by process {process.pid}: stop that stack first"):
        FolderLock(yard.folder / "lock").acquire()


def test_the_lock_is_free_after_release(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "deep" / "lock")
    lock.acquire()
    lock.release()
    again = FolderLock(lock.path)
    again.acquire(wait_s=0)
    again.release()


def test_an_interrupted_stop_kills_at_once(yard: Yard, tmp_path: Path) -> None:
    up = tmp_path / "up"
    supervisor = Supervisor([[yard.part("deaf", DEAF, to=up, ready=up.exists, grace_s=600)]])
    supervisor.start()
    pid = supervisor.pids()["deaf"]
    main = threading.main_thread().ident
    assert main is not None

    def interrupt_once_asked() -> None:
        wait_until((tmp_path / "up.asked").exists, what="the part being asked to end")
        signal.pthread_kill(main, signal.SIGINT)

    interrupter = threading.Thread(target=interrupt_once_asked)
    interrupter.start()
    supervisor.stop()
    interrupter.join()
    assert not lives(pid)


def test_two_ports_are_never_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is not listened on yet when the second is asked for, and chance offers it again."""
    first = probes.free_port()
    offered = iter([first, first, first + 1, first + 2, first + 3])
    monkeypatch.setattr(probes.secrets, "randbelow", lambda _below: next(offered) - probes._FIRST_PORT)
    assert probes.free_port() != first
