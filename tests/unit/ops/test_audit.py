"""What `make audit` makes of what pip-audit says: it passes only when packages were really looked up."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.audit.__main__ import CLEAN, FOUND, NOT_LOOKED_UP, main

CANARY = {"dependencies": [{"name": "Jinja2", "version": "2.4.1", "vulns": [{"id": "PYSEC-2014-8"}]}]}
NOTHING_ON_CANARY = {"dependencies": [{"name": "jinja2", "version": "2.4.1", "vulns": []}]}
LOCK = """celery[redis]==5.7.0 \\
    --hash=sha256:00
markup_safe==3.0 \\
    --hash=sha256:11
tzdata==1 ; sys_platform == 'win32'
"""

# Answers by the file that it is asked about, and writes down how it was called.
FAKE = """
import json, sys
from pathlib import Path
folder = Path(__file__).parent
name = Path(sys.argv[-1]).name
with (folder / "calls").open("a") as calls:
    print(json.dumps(sys.argv[1:]), file=calls)
stdout, stderr, code = json.loads((folder / "answers").read_text())["canary" if name == "canary.txt" else "lock"]
sys.stdout.write(stdout)
sys.stderr.write(stderr)
sys.exit(code)
"""

Answer = tuple[Any, str, int]


def clean(*names: str) -> dict[str, Any]:
    return {"dependencies": [{"name": name, "version": "1", "vulns": []} for name in names]}


WHOLE = clean("celery", "MarkUp.Safe")


@pytest.fixture
def audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[Answer, Answer], tuple[int, str]]:
    (tmp_path / "fake.py").write_text(FAKE)
    (tmp_path / "requirements.lock").write_text(LOCK)

    def run(canary: Answer, lock: Answer) -> tuple[int, str]:
        answers = {"canary": canary, "lock": lock}
        texts = {
            name: [out if isinstance(out, str) else json.dumps(out), err, code]
            for name, (out, err, code) in answers.items()
        }
        (tmp_path / "answers").write_text(json.dumps(texts))
        command = f"{sys.executable} {tmp_path / 'fake.py'}"
        code = main([str(tmp_path / "requirements.lock"), "--pip-audit", command])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


Audit = Callable[[Answer, Answer], tuple[int, str]]


def test_a_clean_lock_passes_when_the_canary_was_reported(audit: Audit, tmp_path: Path) -> None:
    code, said = audit((CANARY, "", 1), (WHOLE, "", 0))
    assert code == CLEAN
    assert said == "audit: 2 packages looked up, 0 with known vulnerabilities; the canary was reported\n"
    first, second = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert "--strict" in first
    assert {"--strict", "--require-hashes"} <= set(second)


def test_a_vulnerable_package_fails_by_name_and_advisory(audit: Audit) -> None:
    found = {"dependencies": [*WHOLE["dependencies"], {"name": "av", "version": "1", "vulns": [{"id": "CVE-1"}]}]}
    code, said = audit((CANARY, "", 1), (found, "", 1))
    assert code == FOUND
    assert "audit: av: CVE-1\n" in said


@pytest.mark.parametrize(
    ("canary", "why"),
    [
        ((NOTHING_ON_CANARY, "", 0), "jinja2==2.4.1 was not reported"),
        (("", "a\nERROR: no route to the service", 1), "ERROR: no route to the service"),
        (("", "", 0), "it said nothing"),
        (({"dependencies": []}, "", 0), "gave no report"),
        (("No known vulnerabilities found", "", 0), "gave no report"),
        ((CANARY, "", 2), "exit code 2"),
        ((NOTHING_ON_CANARY, "", 1), "named no vulnerability"),
    ],
)
def test_without_the_canary_nothing_passes(audit: Audit, tmp_path: Path, canary: Answer, why: str) -> None:
    code, said = audit(canary, (WHOLE, "", 0))
    assert code == NOT_LOOKED_UP
    assert why in said
    assert said.count("\n") == 1
    assert len((tmp_path / "calls").read_text().splitlines()) == 1  # the lock is not even asked about


@pytest.mark.parametrize(
    ("lock", "why"),
    [
        (("", "ERROR: half way through", 1), "half way through"),
        ((clean("celery"), "", 0), "not judged: markup-safe"),
        (
            ({"dependencies": [*WHOLE["dependencies"], {"name": "av", "skip_reason": "not found"}]}, "", 0),
            "not judged: av",
        ),
    ],
)
def test_a_lock_that_was_not_judged_whole_does_not_pass(audit: Audit, lock: Answer, why: str) -> None:
    code, said = audit((CANARY, "", 1), lock)
    assert code == NOT_LOOKED_UP
    assert why in said


def test_a_missing_pip_audit_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "lock"), "--pip-audit", "no-such-pip-audit"]) == NOT_LOOKED_UP
    said = capsys.readouterr().err
    assert said.startswith("audit: no-such-pip-audit is not found: pip install pip-audit")
    assert said.count("\n") == 1
