"""The verbs for jobs in doubt, failed or not wanted: what they print, ask and refuse, with a real provider to ask."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from tasks.domain.transitions import Event
from tasks.ledger import Ledger, tables
from tasks.ledger.jobs import accept, move
from tasks.ledger.migrate import upgrade
from tasks.ledger.money import begin_attempt, end_attempt
from tasks.restoring import hold
from tasks.spool import Spool
from tests.support.jobs import NEW_JOB
from tests.support.waiting import wait_until
from workers.cli import cli
from workers.cli.exits import FAILED, INVALID, UNREACHABLE
from workers.probes import free_port
from workers.stackplan import ROOT


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a simulator without tasks."""
    folder, port = tmp_path_factory.mktemp("provider"), free_port()
    ready = folder / "ready"
    command = [sys.executable, "-m", "ops.simulator", "--port", str(port), "--bill", str(folder / "bill")]
    process = subprocess.Popen(
        [*command, "--data", str(folder), "--ready-file", str(ready)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    wait_until(ready.exists, what="the simulator")
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


@pytest.fixture
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str) -> Iterator[Ledger]:
    url = f"sqlite:///{tmp_path}/books.db"
    monkeypatch.setenv("REELWORKS_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("REELWORKS_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("REELWORKS_PROVIDER_URL", provider)
    monkeypatch.setenv("REELWORKS_PROVIDER_KEYS", "main=sk-main")
    monkeypatch.setenv("REELWORKS_REDIS_URL", "redis://127.0.0.1:1/0")  # none of this needs Redis
    monkeypatch.setenv("REELWORKS_DATABASE_URL", url)
    made = Ledger(url)
    upgrade(made)
    yield made
    made.close()


def add(ledger: Ledger, job_id: str) -> None:
    with ledger.begin() as tx:
        accept(tx, [replace(NEW_JOB, id=job_id)])


def make_uncertain(ledger: Ledger, job_id: str) -> None:
    add(ledger, job_id)
    with ledger.begin() as tx:
        move(tx, job_id, Event.ADMIT, lease_s=30, key_alias="main")
        begun = move(tx, job_id, Event.BEGIN, lease_s=30)
        assert begun is not None
        end_attempt(tx, begin_attempt(tx, begun), "unknown", http_status=502, reason="HTTP 502")
        move(tx, job_id, Event.UNKNOWN, lease_s=30)


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


def answer(*args: str) -> Any:
    result = run(*args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def state_of(ledger: Ledger, job_id: str) -> str:
    with ledger.read() as tx:
        return str(tx.execute(sa.select(tables.jobs.c.state).where(tables.jobs.c.id == job_id)).scalar_one())


def test_what_is_held_since_a_restore_waits_for_redis_which_may_know_its_task(books: Ledger) -> None:
    add(books, "job-1")
    hold(books, None)
    assert answer("uncertain")["timetable"] is None
    assert "Redis does not answer" in run("uncertain").output
    for words in (["anew", "job-1"], ["write-off", "job-1", "--unpaid"], ["bind", "job-1", "task-1"]):
        refused = run("uncertain", *words)
        assert refused.exit_code == UNREACHABLE
        assert "Redis can't be asked for the task of this job" in refused.output
    assert state_of(books, "job-1") == "uncertain"


def test_uncertain_lists_each_job_with_its_evidence(books: Ledger) -> None:
    assert "No job is uncertain." in run("uncertain").output
    make_uncertain(books, "job-1")
    listed = run("uncertain").output
    for shown in ("job-1", "main", "$0.28", "held", "502", "unknown: HTTP 502", "bind|write-off|anew"):
        assert shown in listed
    (job,) = answer("uncertain")["jobs"]
    assert (job["job_id"], job["attempts"][0]["http_status"], job["provider_task_id"]) == ("job-1", 502, None)


def test_doctor_warns_of_what_waits_for_somebody(books: Ledger, tmp_path: Path) -> None:
    make_uncertain(books, "job-1")
    Spool(tmp_path / "var" / "spool").keep("a-1", {})
    found = {check["name"]: check["found"] for check in json.loads(run("doctor", "--json").stdout)["checks"]}
    assert found["uncertain jobs"] == "1"
    assert found["spool"] == "1 answers of the provider wait for the database"


def test_bind_refuses_a_task_that_the_provider_does_not_know(books: Ledger) -> None:
    make_uncertain(books, "job-1")
    result = run("uncertain", "bind", "job-1", "no-such-task")
    assert result.exit_code == FAILED
    assert "the provider knows no task no-such-task of key main" in result.output
    assert state_of(books, "job-1") == "uncertain"


def test_write_off_wants_to_know_whether_it_was_paid(books: Ledger) -> None:
    make_uncertain(books, "job-1")
    for wrong in ([], ["--paid", "0.28", "--unpaid"], ["--paid", "a lot"], ["--paid", "-1"]):
        assert run("uncertain", "write-off", "job-1", *wrong).exit_code == INVALID
    assert answer("uncertain", "write-off", "job", "--paid", "$0.28") == {
        "job": "job-1",
        "state": "failed",
        "provider_task_id": None,
    }
    assert answer("costs")["estimated_usd"] == "0.28"


def test_anew_queues_the_job_once_more(books: Ledger) -> None:
    make_uncertain(books, "job-1")
    assert "Job job-1 is queued." in run("uncertain", "anew", "job-1").output
    assert [each["event"] for each in answer("job", "job-1")["timeline"]][-1] == "anew"


def test_cancel_and_retry_say_what_they_did_or_why_not(books: Ledger) -> None:
    add(books, "job-1")
    assert "Job job-1 is cancelled." in run("cancel", "job-1").output
    for verb, sentence in (("cancel", "has ended already"), ("retry", "has not failed: it is cancelled")):
        result = run(verb, "job-1")
        assert result.exit_code == FAILED
        assert sentence in result.output
    assert "there is no job nobody" in run("cancel", "nobody").output


def test_reconcile_says_what_differs_and_ends_with_1(books: Ledger) -> None:
    assert "0 provider tasks asked about, 0 differences, $0.00 not charged." in run("reconcile").output
    make_uncertain(books, "job-1")
    with books.begin() as tx:
        move(tx, "job-1", Event.ACCEPTED, lease_s=30, provider_task_id="gone-1", generating_at=tx.now)
    result = run("reconcile")
    assert result.exit_code == FAILED
    for shown in ("job-1", "gone-1", "generating, not charged", "no such task", "1 differences"):
        assert shown in result.output
