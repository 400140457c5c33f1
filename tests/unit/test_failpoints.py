"""Failpoints: a process dies where it was asked to, and nowhere else."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks import failpoints
from tasks.failpoints import FAILPOINTS, VARIABLE, arm, failpoint

ROOT = Path(__file__).resolve().parents[2]


def passing(place: str, spec: str) -> int:
    """The exit status of a process that comes by a place and then ends well."""
    code = f"from tasks.failpoints import failpoint; failpoint({place!r})"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={VARIABLE: spec}, check=False).returncode


def test_a_named_place_kills_and_another_does_not() -> None:
    assert passing("create.before_post", "create.before_post") == -signal.SIGKILL
    assert passing("create.after_post", "create.before_post") == 0
    assert passing("create.before_post", "") == 0


def test_a_fuse_kills_the_first_that_comes_by_and_only_that_one(tmp_path: Path) -> None:
    (tmp_path / "record.after_commit").touch()
    assert passing("record.before_commit", str(tmp_path)) == 0
    assert passing("record.after_commit", str(tmp_path)) == -signal.SIGKILL
    assert passing("record.after_commit", str(tmp_path)) == 0


def test_an_unknown_place_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"no place 'create\.after_tea'"):
        arm("create.after_tea")
    arm("")


def test_unarmed_a_place_costs_one_look() -> None:
    assert failpoints._armed == {}
    failpoint("create.before_post")


def test_every_place_of_the_catalogue_stands_in_the_code_and_every_one_in_the_code_in_the_catalogue() -> None:
    found: set[str] = set()
    for path in (ROOT / "tasks").rglob("*.py"):
        text = path.read_text()
        found |= set(re.findall(r'failpoint\("([^"{]+)"\)', text))
        for name in re.findall(r'\.begin\("([^"]+)"\)', text):
            found |= {f"{name}.before_commit", f"{name}.after_commit"}
        for step in re.findall(r'_send\("([^"]+)"', text):
            found |= {f"{step}.before_publish", f"{step}.after_publish"}
    assert found == FAILPOINTS


def test_every_commit_has_a_name() -> None:
    texts = {path.name: path.read_text() for path in (ROOT / "tasks").rglob("*.py")}
    assert [name for name, text in texts.items() if re.search(r'ledger\.begin\((?!")', text)] == []
