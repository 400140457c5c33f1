"""A key, however it is given, shows in nothing that a command says: reports, errors of settings, logs, tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.environment import foreign_environment
from workers.stackplan import ROOT

KEY = "sk-canary-key-c0de"
LOGIN = "me:canary-of-brass"
SOURCES = ["REELWORKS_PROVIDER_KEYS", "REELWORKS_PROVIDER_KEYS_FILE", "VTRIX_API_KEY", "VTRIX_API_KEY_FILE"]


@pytest.fixture(params=SOURCES)
def given(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """An environment that holds the key, and a login for Flower by the same means."""
    content = f"main={KEY}" if "PROVIDER_KEYS" in request.param else KEY
    login = "REELWORKS_FLOWER_LOGIN"
    if not request.param.endswith("_FILE"):
        return {request.param: content, login: LOGIN}
    for name, text in (("key", content), ("login", LOGIN)):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(f"{text}\n")
    return {request.param: str(tmp_path / "key"), f"{login}_FILE": str(tmp_path / "login")}


def said(env: dict[str, str], var: Path, *words: str) -> subprocess.CompletedProcess[str]:
    whole = {
        **foreign_environment(),
        "REELWORKS_VAR": str(var),
        "REELWORKS_REDIS_URL": "redis://u:canary@127.0.0.1:9/0",
        "REELWORKS_PROVIDER_URL": "http://127.0.0.1:9",
        "REELWORKS_LOG_LEVEL": "DEBUG",
        **env,
    }
    ended = subprocess.run(
        [sys.executable, *words], env=whole, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    for secret in (KEY, "canary"):
        assert secret not in ended.stdout + ended.stderr
    return ended


def test_doctor_knows_the_key_by_its_alias_alone(given: dict[str, str], tmp_path: Path) -> None:
    report = json.loads(said(given, tmp_path / "var", "-m", "workers", "doctor", "--json").stdout)
    checks = {check["name"]: check["found"] for check in report["checks"]}
    assert checks["provider keys"] in ("set: main", "set: default")
    assert set(given) <= set(report["variables_set"])


def test_errors_of_settings_do_not_show_the_key_beside_them(given: dict[str, str], tmp_path: Path) -> None:
    broken = {**given, "REELWORKS_POLL_FIRST_S": "soon", "REELWORKS_LANE_TTL_S": "x"}
    ended = said(broken, tmp_path / "var", "-m", "workers", "migrate")
    assert ended.returncode == 3
    assert "REELWORKS_POLL_FIRST_S: " in ended.stderr


def test_a_key_of_the_wrong_form_is_not_quoted(tmp_path: Path) -> None:
    ended = said({"REELWORKS_PROVIDER_KEYS": f"main={KEY},{KEY}"}, tmp_path / "var", "-m", "workers", "doctor")
    assert "entry 2 is not of the form alias=key" in ended.stdout


# A traceback with the variables of every frame, as error reporters make it, in the middle of building a client.
REPORT = """
import traceback
from workers import runtime, settings
from tests.support.environment import foreign_environment
def fail(*_args, **_fields):
    raise RuntimeError("no client")
runtime.VtrixClient = fail
read = settings.settings()
try:
    runtime.provider_client(read, next(iter(read.provider_keys)))
except RuntimeError as error:
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    # But for the frame of the client itself, which has to have the key.
    kept = [frame for frame in report.stack if frame.name != "fail"]
    print("".join(traceback.StackSummary.from_list(kept).format()), read)
"""


def test_a_report_of_an_error_shows_stars(given: dict[str, str], tmp_path: Path) -> None:
    ended = said(given, tmp_path / "var", "-c", REPORT)
    assert ended.returncode == 0, ended.stderr
    assert "***" in ended.stdout
    assert "provider_client" in ended.stdout


def test_a_worker_that_can_not_start_says_why_without_the_key(given: dict[str, str], tmp_path: Path) -> None:
    ended = said(given, tmp_path / "var", "-m", "workers", "pool", "create")
    assert ended.returncode == 3
    assert "there is no database" in ended.stderr
