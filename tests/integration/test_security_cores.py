"""A process that holds keys leaves no memory behind when it crashes: neither as a file nor in a program's hands.

Where dumps go to a program (`core_pattern` begins with `|`), a limit of 0 stops none, but the limit of 1 and the mark
"not dumpable" do (core(5)). That pattern is the whole machine's, so the two are tried here, each by itself.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from tasks.ledger import Ledger
from tasks.ledger.migrate import upgrade
from tests.support.environment import foreign_environment
from tests.support.valkey import valkey_server
from tests.support.waiting import wait_until
from workers import pools
from workers.stackplan import ROOT

# As far as the system lets us: what is inherited must not be what makes a test pass.
MAY_DUMP = ["/bin/sh", "-c", 'ulimit -c "$(ulimit -H -c)"; exec "$@"', "sh"]
FORBID = "from workers import credentials; credentials.forbid_core_dumps()"
WITHOUT_LIMIT = "import resource; resource.setrlimit = lambda *_: None"
WITHOUT_MARK = "import ctypes; ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)"
FORK_CRASHES = """
import os
pid = os.fork()
if not pid: os.abort()
print(os.WCOREDUMP(os.waitpid(pid, 0)[1]))
"""
NOTED = """
import ctypes, os, sys
from celery.signals import worker_process_init, worker_ready
folder = sys.argv.pop()
def note(**_):
    mark = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
    with open(f"{folder}/{os.getpid()}", "w") as file:
        file.write(str(mark))
worker_ready.connect(note, weak=False)
worker_process_init.connect(note, weak=False)
from celery.__main__ import main
main()
"""
"""A worker of which each process notes its mark, in a file by its own number."""


def run(folder: Path, *lines: str) -> str:
    command = [*MAY_DUMP, sys.executable, "-c", "\n".join(lines)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    # In a folder of its own: a dump is left there, by the usual pattern.
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=True
    ).stdout.strip()


@pytest.mark.parametrize("lines", [[], [WITHOUT_LIMIT], ["from workers import credentials"]], ids=repr)
def test_without_them_a_crash_leaves_a_dump(tmp_path: Path, lines: Sequence[str]) -> None:
    if resource.getrlimit(resource.RLIMIT_CORE)[1] in (0, 1):
        pytest.skip("nothing that is started from here may dump: what the other tests look for can't be shown")
    assert run(tmp_path, *lines, FORK_CRASHES) == "True"


@pytest.mark.parametrize(
    "lines",
    [[FORBID], [FORBID, FORBID], [WITHOUT_LIMIT, FORBID], [FORBID, WITHOUT_MARK]],
    ids=["both", "twice", "the mark alone", "the limit alone"],
)
def test_who_has_read_its_keys_leaves_nothing(tmp_path: Path, lines: Sequence[str]) -> None:
    assert run(tmp_path, *lines, FORK_CRASHES) == "False"
    assert list(tmp_path.iterdir()) == []


def test_the_limit_is_the_one_that_holds_for_programs_too(tmp_path: Path) -> None:
    limits = run(tmp_path, FORBID, "print(*credentials.resource.getrlimit(credentials.resource.RLIMIT_CORE))")
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    assert limits == "1 1" if hard else limits in ("0 0", "1 1")  # whoever may raise a hard limit of 0 does


def test_a_hard_limit_of_0_is_no_obstacle(tmp_path: Path) -> None:
    assert run(tmp_path, "import resource; resource.setrlimit(4, (0, 0))", FORBID, FORK_CRASHES) == "False"


@pytest.mark.parametrize("pool", pools.POOLS)
def test_no_process_of_a_worker_leaves_its_memory_when_it_crashes(pool: str, tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    noted.mkdir()
    url = f"sqlite:///{tmp_path}/reelworks.db"
    ledger = Ledger(url)
    upgrade(ledger)
    ledger.close()
    argv = pools.command(pool, pools.PoolSizes(1, 1, 1))
    arguments = argv[argv.index("celery") + 1 :]
    with valkey_server(tmp_path) as valkey, (tmp_path / "worker.log").open("wb") as log:
        env = {
            **foreign_environment(),
            "REELWORKS_REDIS_URL": valkey.url,
            "REELWORKS_DATABASE_URL": url,
            "REELWORKS_VAR": str(tmp_path),
            "VTRIX_API_KEY": "sk-none",
        }
        command = [*MAY_DUMP, sys.executable, "-c", NOTED, *arguments, str(noted)]
        with subprocess.Popen(command, env=env, cwd=ROOT, stdout=log, stderr=log) as process:
            try:
                of_pool = 2 if pool == "finish" else 1
                # With their texts: a file is there before its text is.
                wait_until(
                    lambda: [path.read_text() for path in noted.iterdir()] == ["0"] * of_pool,
                    within_s=60,
                    what=f"{pool} being ready, and having noted that it may not dump",
                )
                parent = psutil.Process(process.pid)
                children = parent.children(recursive=True)
                assert {str(each.pid) for each in [parent, *children]} >= {path.name for path in noted.iterdir()}
                for each in [parent, *children]:
                    assert core_limits(each.pid) in (["1", "1"], ["0", "0"])
                process.send_signal(signal.SIGSEGV)
                ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
                assert ended is not None
                assert (ended.si_status, ended.si_code) == (signal.SIGSEGV, os.CLD_KILLED)  # not CLD_DUMPED
            finally:
                for left in psutil.Process(process.pid).children(recursive=True):
                    left.kill()
                process.kill()


def core_limits(pid: int) -> list[str]:
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (line,) = [line for line in limits if line.startswith("Max core file size")]
    return line.split()[4:6]
