"""The commands that a newcomer runs, as processes: what they print, how they end, and that nothing is left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import psutil
import pytest

from tests.support.environment import foreign_environment
from tests.support.waiting import wait_until

QUICK = {"REELWORKS_LANE_IDLE_S": "0.1", "REELWORKS_LOG_LEVEL": "WARNING"}


@contextmanager
def started(var: Path, *words: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m workers WORDS` with its output in pipes; at the end all that it started has to be gone."""
    env = foreign_environment()
    argv = [sys.executable, "-m", "workers", *words, "--var", str(var)]
    with subprocess.Popen(
        argv, env={**env, **QUICK, **variables}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()
    wait_until(lambda: left_of(var) == [], what="the end of all processes")


def left_of(var: Path) -> list[str]:
    """Processes that work in a folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = " ".join(process.info["cmdline"] or [])
        if str(var) in words or str(var) in environment_of(process).get("REELWORKS_VAR", ""):
            found.append(words)
    return found


def environment_of(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def test_a_demo_makes_films_and_its_books_agree_with_the_providers(tmp_path: Path) -> None:
    words = ("demo", "--jobs", "2", "--speed", "100", "--resolution", "512P", "--json")
    # What is exported for a production must not reach a rehearsal.
    production = {
        "VTRIX_API_KEY": "sk-canary",
        "REELWORKS_PROVIDER_URL": "http://127.0.0.1:9",
        "REELWORKS_REDIS_URL": "redis://127.0.0.1:9/0",
        "REELWORKS_DATABASE_URL": "postgresql+psycopg://127.0.0.1:9/production",
        "REELWORKS_STORE": str(tmp_path / "production"),
    }
    with started(tmp_path, *words, **production) as process:
        out, err = process.communicate(timeout=90)
    told = json.loads(out)
    assert err.splitlines()[-1] == "demo: 2 completed, 0 failed, charged $0.20, provider billed $0.20"
    assert process.returncode == 0
    assert (told["completed"], told["charged_usd"], told["billed_usd"]) == (2, "0.20", "0.20")
    films = sorted((tmp_path / "demo" / "latest" / "store" / "demo").glob("*/0.mp4"))
    assert len(films) == 2
    for film in films:
        with av.open(str(film)) as container:
            assert round(float(container.duration or 0) / 1e6) == 6
    assert not (tmp_path / "production").exists()
    assert "canary" not in out + err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_stops_everything_and_says_how_to_go_on(tmp_path: Path, number: int) -> None:
    with started(tmp_path, "demo", "--jobs", "1", "--speed", "1") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if " generating" in line:
                break
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 130
    assert "Stopping the stack" in out
    assert "python -m workers up" in out


def test_a_request_that_is_wrong_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with started(tmp_path, "demo", "--resolution", "1080P", "--duration", "10") as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "1080P is not offered for 10 s" in err
    assert not (tmp_path / "demo").exists()


def test_the_real_provider_needs_a_key(tmp_path: Path) -> None:
    with started(tmp_path, "demo", "--provider", "vtrix") as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "VTRIX_API_KEY" in err
    assert not (tmp_path / "demo").exists()


def test_up_says_where_everything_is_and_ends_with_its_parts(tmp_path: Path) -> None:
    with started(tmp_path, "up", "--json") as process:
        assert process.stdout is not None
        where = json.loads(process.stdout.readline())
        assert {"redis_url", "database_url", "provider_url", "flower_url", "store", "bill", "logs"} <= set(where)
        assert all(psutil.pid_exists(pid) for pid in where["pids"].values())
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert not any(psutil.pid_exists(pid) for pid in where["pids"].values())
