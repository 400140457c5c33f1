"""The command line against a real Redis and real databases; the test itself plays the worker."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from PIL import Image

from schemas.jobs import JobView, Output, State
from tasks.domain.prices import Price
from tasks.domain.transitions import Event
from tasks.ledger import Ledger, reports, tables
from tasks.ledger.deliverables import store_outputs
from tasks.ledger.jobs import accept, get, move
from tasks.ledger.money import begin_attempt, charge, end_attempt
from tasks.ledger.rejected import put_aside
from tasks.ledger.views import views_of
from tasks.pulse import Pulse
from tasks.pulse.intake import Intake
from tests.support.jobs import NEW_JOB
from tests.support.waiting import wait_until
from workers.cli import cli
from workers.cli.board import Board, Standing
from workers.cli.exits import FAILED, INVALID, UNREACHABLE

PROMPT = "a canary in the prompt"
URL = "https://pictures.example/first.png?signature=canary"
NEW = replace(NEW_JOB, request={"prompt": PROMPT, "first_frame_image": URL})
FILM = Output(0, "video", "default/job-1/0.mp4", 1_038_900, "a" * 64, 1366, 768, 6.0)


def add(ledger: Ledger, job_id: str, **changes: Any) -> None:
    with ledger.begin() as tx:
        accept(tx, [replace(NEW, id=job_id, **changes)])


def complete(
    ledger: Ledger, job_id: str, amount_usd: str = "0.28", *, key: str = "main", estimated: bool = False
) -> None:
    """Take a queued job to its end, as workers would."""
    with ledger.begin() as tx:
        move(tx, job_id, Event.ADMIT, lease_s=30, key_alias=key)
        begun = move(tx, job_id, Event.BEGIN, lease_s=30)
        assert begun is not None
        end_attempt(tx, begin_attempt(tx, begun), "accepted", http_status=200, provider_task_id=f"task-{job_id}")
        move(tx, job_id, Event.ACCEPTED, lease_s=30, provider_task_id=f"task-{job_id}", generating_at=tx.now)
        answer = {"outputs": [{"url": URL}]}
        move(tx, job_id, Event.COMPLETED, lease_s=30, detail={"polls": 3}, answer=answer)
        store_outputs(tx, job_id, [replace(FILM, path=f"default/{job_id}/0.mp4")])
        move(tx, job_id, Event.STORED, lease_s=30)
        job = get(tx, job_id)
        assert job is not None
        charge(tx, job, Price(Decimal(amount_usd), estimated), discount="1", usage={}, metadata={})
        move(tx, job_id, Event.CHARGED, lease_s=30)


@pytest.fixture(autouse=True)
def addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REELWORKS_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("REELWORKS_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("REELWORKS_PROVIDER_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("REELWORKS_REDIS_URL", "redis://127.0.0.1:1/0")


@pytest.fixture
def books(ledger: Ledger, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A migrated ledger, once on each database, that the command line uses too."""
    monkeypatch.setenv("REELWORKS_DATABASE_URL", database_url)
    return ledger


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


def answer(*args: str) -> Any:
    result = run(*args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_jobs_are_listed_newest_first_by_state_and_tenant(books: Ledger) -> None:
    for number, tenant in enumerate(["default", "film", "default"], start=1):
        add(books, f"job-{number}", tenant=tenant)
    complete(books, "job-1")
    assert [each["id"] for each in answer("jobs")["jobs"]] == ["job-3", "job-2", "job-1"]
    assert [each["id"] for each in answer("jobs", "--state", "queued")["jobs"]] == ["job-3", "job-2"]
    both = answer("jobs", "--state", "queued", "--state", "completed", "--tenant", "default")["jobs"]
    assert [(each["id"], each["charged_usd"]) for each in both] == [("job-3", None), ("job-1", "0.28")]
    first = answer("jobs", "--limit", "1")
    assert ([each["id"] for each in first["jobs"]], first["more"]) == (["job-3"], True)
    assert "use --limit" in run("jobs", "--limit", "1").output


def test_a_jobs_story_has_everything_but_prompt_and_urls(books: Ledger) -> None:
    add(books, "job-1", deadline_s=60)
    complete(books, "job-1")
    story = answer("job", "job-1")
    assert [each["event"] for each in story["timeline"]] == [
        *("accept", "admit", "begin", "accepted", "completed", "stored", "charged")
    ]
    assert story["timeline"][4]["detail"] == {"polls": 3}
    assert [(each["outcome"], each["http_status"]) for each in story["attempts"]] == [("accepted", 200)]
    assert story["outputs"][0]["path"] == "default/job-1/0.mp4"
    assert [(each["amount_usd"], each["estimated"]) for each in story["charges"]] == [("0.28", False)]
    shown = run("job", "job-1")
    for word in ("default/job-1/0.mp4", "task-job-1", "1366x768", "$0.28", "polls 3", "as reported"):
        assert word in shown.output
    for secret in ("canary", "pictures.example"):
        assert secret not in shown.output + json.dumps(story)


def test_the_beginning_of_an_id_is_enough_when_it_is_only_one_jobs(books: Ledger) -> None:
    for job_id in ("abc-1", "abc-12", "abd%1"):
        add(books, job_id)
    assert answer("job", "abd")["job"]["id"] == "abd%1"
    assert answer("job", "abc-1")["job"]["id"] == "abc-1", "a whole id is never ambiguous"
    ambiguous = run("job", "abc")
    assert (ambiguous.exit_code, "more than one job" in ambiguous.stderr) == (FAILED, True)
    assert run("job", "ab%").exit_code == FAILED, "a pattern is not an id"


def test_a_request_that_was_refused_at_the_door_says_why(books: Ledger) -> None:
    with books.begin() as tx:
        put_aside(tx, "1-1", "job-9", "duration: 7 s is not offered", {"request": PROMPT})
    result = run("job", "job-9")
    assert result.exit_code == FAILED
    assert "duration: 7 s is not offered" in result.stderr
    assert "canary" not in result.stderr


def test_a_request_that_waits_to_be_accepted_is_told_from_a_job_that_is_none(
    live: Pulse, small_books: Ledger, picture: str
) -> None:
    job_id = run("submit", "--image", picture).stdout.strip()
    waits = run("job", job_id)
    assert waits.exit_code == FAILED
    assert f"job {job_id} is not accepted yet: its request has waited in Redis since 20" in waits.stderr
    assert f"`python -m workers watch {job_id}`" in waits.stderr
    none = run("job", "nobody")
    assert none.exit_code == FAILED
    assert "there is no job nobody. Its request does not wait in Redis either." in none.stderr
    assert "`python -m workers jobs` lists those there are." in none.stderr


def test_a_job_that_the_ledger_lacks_may_wait_in_a_redis_that_is_away(small_books: Ledger) -> None:
    result = run("job", "nobody")
    assert result.exit_code == FAILED
    assert "Redis, where its request may wait to be accepted, does not answer (ConnectionError)." in result.stderr


def test_a_job_that_is_accepted_while_it_is_looked_for_is_found(
    live: Pulse, small_books: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def accepted_meanwhile(_intake: Intake, job_ids: set[str]) -> dict[str, datetime]:
        for job_id in job_ids:
            add(small_books, job_id)
        return {}

    monkeypatch.setattr(Intake, "waiting", accepted_meanwhile)
    assert answer("job", "job-1")["job"]["id"] == "job-1"


def test_costs_are_exact_and_sum_up_by_each_kind(books: Ledger) -> None:
    for number in range(1, 5):
        add(books, f"job-{number}", tenant="film" if number == 4 else "default")
    complete(books, "job-1", "0.1")
    complete(books, "job-2", "0.2")
    complete(books, "job-3", "0.000001", key="spare")
    complete(books, "job-4", "0.28", estimated=True)
    found = answer("costs")
    assert (found["charges"], found["total_usd"], found["estimated_usd"]) == (4, "0.580001", "0.28")
    assert [(each["name"], each["amount_usd"]) for each in found["by_key"]] == [
        ("main", "0.58"),
        ("spare", "0.000001"),
    ]
    assert [(each["name"], each["charges"]) for each in found["by_tenant"]] == [("default", 3), ("film", 1)]
    assert [each["name"] for each in found["by_model"]] == ["minimax_hailuo_02_i2v"]
    assert run("costs").output.endswith("total $0.580001 in 4 charges ($0.28 of it estimated from the price list)\n")
    assert answer("costs", "--tenant", "film")["total_usd"] == "0.28"


def test_costs_are_of_utc_days_and_both_ends_of_a_span_are_in_it(books: Ledger) -> None:
    first = datetime(2026, 3, 1, tzinfo=UTC)
    instants = [first - timedelta(microseconds=1), first, first + timedelta(days=2) - timedelta(microseconds=1)]
    for number, at in enumerate(instants):
        add(books, f"job-{number}")
        complete(books, f"job-{number}")
        with books.begin() as tx:
            mine = tables.charges.c.job_id == f"job-{number}"
            tx.execute(sa.update(tables.charges).where(mine).values(charged_at=at))
    assert [each["name"] for each in answer("costs")["by_day"]] == ["2026-03-02", "2026-03-01", "2026-02-28"]
    assert answer("costs", "--since", "2026-03-01", "--until", "2026-03-02")["charges"] == 2
    assert answer("costs", "--until", "2026-02-28")["charges"] == 1
    assert answer("costs", "--until", "9999-12-31")["charges"] == 3


def test_the_sum_of_some_jobs_is_of_those_alone(books: Ledger) -> None:
    for number in range(3):
        add(books, f"job-{number}")
        complete(books, f"job-{number}")
    with books.read() as tx:
        assert reports.charged_usd(tx, ["job-0", "job-2"]) == Decimal("0.56")
        assert reports.charged_usd(tx, []) == 0


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "first.png"
    Image.new("RGB", (640, 360), "teal").save(path)
    return str(path)


@pytest.fixture
def live(redis_url: str, pulse: Pulse, monkeypatch: pytest.MonkeyPatch) -> Pulse:
    monkeypatch.setenv("REELWORKS_REDIS_URL", redis_url)
    return pulse


def test_submit_prints_the_id_and_the_same_key_is_the_same_job(live: Pulse, picture: str) -> None:
    first = run("submit", "--image", picture, "--idempotency-key", "order-7", "--prompt", PROMPT)
    assert first.exit_code == 0, first.output
    assert answer("submit", "--image", picture, "--idempotency-key", "order-7", "--prompt", PROMPT) == {
        "job_id": first.stdout.strip(),
        "warnings": [],
    }
    assert live.redis.xlen("reelworks:requests") == 1
    other = run("submit", "--image", picture, "--idempotency-key", "order-7", "--prompt", "other")
    assert (other.exit_code, "use a new key" in other.stderr) == (INVALID, True)


def test_submit_takes_the_prompt_from_standard_input_and_says_warnings(live: Pulse, picture: str) -> None:
    prompt = "[pan left, rise, zoom in, shake] " + PROMPT
    args = ["submit", "--image", picture, "--prompt-file", "-", "--json"]
    result = CliRunner().invoke(cli, args, input=f"{prompt}\n")
    assert result.exit_code == 0, result.output
    assert "Warning: prompt: " in result.stderr
    assert len(json.loads(result.stdout)["warnings"]) == 1
    ((_, entry),) = live.redis.xrange("reelworks:requests")
    assert json.loads(entry[b"request"])["prompt"] == prompt
    assert "canary" not in result.output


def test_without_redis_submit_says_what_to_start(picture: str) -> None:
    result = run("submit", "--image", picture)
    assert result.exit_code == UNREACHABLE
    assert "python -m workers up" in result.stderr


def test_submit_waits_for_the_end_and_fails_with_the_job(live: Pulse, small_books: Ledger, picture: str) -> None:
    """The worker is this test: it accepts what comes and lets it fail."""

    def work() -> None:
        ((_, entry),) = wait_until(lambda: live.redis.xrange("reelworks:requests"), what="the request")
        job_id = entry[b"job"].decode()
        add(small_books, job_id)
        with small_books.begin() as tx:
            error = {"error_code": "deadline_passed", "error_message": "Too late.", "error_stage": "queued"}
            move(tx, job_id, Event.EXPIRE, lease_s=30, **error)
            live.views.publish(views_of(tx, [job_id]))

    worker = threading.Thread(target=work)
    worker.start()
    result = run("submit", "--image", picture, "--wait", "--json")
    worker.join()
    assert result.exit_code == FAILED
    told = json.loads(result.stdout)
    assert (told["state"], told["error_code"]) == ("failed", "deadline_passed")
    assert "failed: Too late. [deadline_passed]" in result.stderr


def test_a_wait_that_is_over_says_how_to_go_on(live: Pulse, picture: str) -> None:
    result = run("submit", "--image", picture, "--wait", "--timeout", "0")
    job_id = result.stdout.strip()
    assert result.exit_code == FAILED
    assert f"python -m workers watch {job_id}" in result.stderr


def test_watch_follows_open_jobs_to_their_end_line_by_line(
    live: Pulse, small_books: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is this test: it shows the job as queued at the first look, and completes it before the second."""
    add(small_books, "job-1")
    work = iter([lambda: None, lambda: complete(small_books, "job-1")])
    look = Board.refresh

    def look_after_work(board: Board) -> list[Standing]:
        next(work)()
        with small_books.read() as tx:
            live.views.publish(views_of(tx, ["job-1"]))
        return look(board)

    monkeypatch.setattr(Board, "refresh", look_after_work)
    result = run("watch", "--json")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["state"] for each in lines] == ["queued", "completed"]
    assert lines[1]["outputs"][0]["path"] == "default/job-1/0.mp4"


def test_watch_whose_time_is_up_names_a_job_that_is_open(live: Pulse, small_books: Ledger) -> None:
    add(small_books, "done-1")
    complete(small_books, "done-1")
    add(small_books, "open-1")
    result = run("watch", "done-1", "open-1", "--timeout", "0")
    assert result.exit_code == FAILED
    assert "job open-1 did not end within 0 s" in result.stderr


def test_watch_knows_from_the_ledger_what_redis_has_forgotten(live: Pulse, small_books: Ledger) -> None:
    add(small_books, "done-1")
    complete(small_books, "done-1")
    result = run("watch", "done")
    assert result.exit_code == 0
    assert "job done-1 completed, charged $0.28" in result.stdout


def test_watch_without_open_jobs_has_nothing_to_do(live: Pulse, small_books: Ledger) -> None:
    result = run("watch")
    assert (result.exit_code, result.stderr) == (0, "No job is open.\n")


def test_watch_waits_for_a_job_whose_request_waits_to_be_accepted(
    live: Pulse, small_books: Ledger, picture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.pulse.intake._PAGE", 2)
    ids = [run("submit", "--image", picture).stdout.strip() for _ in range(5)]
    result = run("watch", ids[4], "--timeout", "0")
    assert result.exit_code == FAILED
    assert f"Job {ids[4]} is not known yet: waiting until it is accepted." in result.stderr


def test_watch_of_a_job_that_does_not_exist_says_so(live: Pulse, small_books: Ledger, picture: str) -> None:
    run("submit", "--image", picture)
    add(small_books, "job-1")
    result = run("watch", "job-1", "no-such-job")
    assert result.exit_code == FAILED
    assert result.stderr == "Error: job no-such-job is unknown. `python -m workers jobs` lists those there are.\n"


def test_watch_of_a_request_that_was_refused_at_the_door_says_why(live: Pulse, small_books: Ledger) -> None:
    reason = {"error_code": "request_refused", "error_message": "duration: 7 s is not offered"}
    live.views.publish([JobView("job-9", State.FAILED, error_stage="accept", **reason)])
    result = run("watch", "job-9")
    assert result.exit_code == FAILED
    assert "failed: duration: 7 s is not offered [request_refused]" in result.stdout


def test_up_says_at_once_that_the_redis_that_was_named_does_not_answer(tmp_path: Path) -> None:
    result = run("up")
    assert result.exit_code == UNREACHABLE
    assert "the Redis that REELWORKS_REDIS_URL names does not answer (ConnectionError): start it" in result.stderr
    assert not (tmp_path / "var" / "addresses.json").exists()


def test_keys_knows_those_of_a_running_stack_by_what_they_were_used_for(
    small_books: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for joined, shown in ((False, "set REELWORKS_PROVIDER_KEYS"), (True, "the running stack has its own")):
        monkeypatch.setattr("workers.cli.keys.join_running_stack", lambda joined=joined: joined)
        assert shown in run("keys").stdout
    add(small_books, "job-1")
    complete(small_books, "job-1", key="main")
    (key,) = json.loads(run("keys", "--json").stdout)["keys"]
    assert (key["key"]["alias"], key["configured"]) == ("main", True)


def test_migrate_on_each_database_can_be_repeated(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELWORKS_DATABASE_URL", empty_database_url)
    first, second = run("migrate"), run("migrate")
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stdout == second.stdout
    assert answer("jobs") == {"jobs": [], "more": False}


def test_a_state_that_does_not_exist_is_wrong_usage(small_books: Ledger) -> None:
    result = run("jobs", "--state", "sleeping")
    assert result.exit_code == INVALID
    for state in State:
        assert state.value in result.stderr
