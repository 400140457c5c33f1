"""The door `reelworks.enqueue`: any Celery client asks for films by the task's name, and waits with `AsyncResult`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.jobs import State
from schemas.keys import ENQUEUE_QUEUE
from tasks.enqueued import TASK
from tasks.ledger import tables
from tests.support.bench import Bench
from tests.support.celerydoor import REQUEST, body, enqueued, message
from tests.support.situations import completed

# An application that has none of our code: its task does not exist there.
SENDER = """
import json, sys
from celery import Celery
url, task_id, *more = sys.argv[1:]
app = Celery(broker=url, backend=url)
options = {"queue": more[0]} if more else {}
request = {"model": "minimax_hailuo_02_i2v", "first_frame_image": "https://pictures.example/first.jpg"}
app.send_task("reelworks.enqueue", args=[request], task_id=task_id, **options)
"""
WAITER = """
import json, sys
from celery import Celery
url, task_id = sys.argv[1:]
app = Celery(broker=url, backend=url)
print(json.dumps(app.AsyncResult(task_id).get(timeout=60)))
"""


def run(script: str, folder: Path, *words: str) -> str:
    command = [sys.executable, "-I", "-c", script, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=True).stdout


@pytest.mark.parametrize("queue", [ENQUEUE_QUEUE, None], ids=["its queue", "none named"])
def test_a_plain_celery_application_enqueues_and_waits(
    bench: Bench, redis_url: str, tmp_path: Path, quick_films: None, queue: str | None
) -> None:
    run(SENDER, tmp_path, redis_url, "scene-7", *([queue] if queue else []))
    bench.turn("accept")
    assert bench.state("scene-7") is State.QUEUED
    completed(bench, "scene-7")
    result = json.loads(run(WAITER, tmp_path, redis_url, "scene-7"))
    assert (result["state"], result["charged_usd"]) == ("completed", "0.28")
    assert result["outputs"][0]["path"].endswith(".mp4")


def test_the_fields_may_come_as_keyword_arguments(bench: Bench) -> None:
    enqueued(bench, message(body=body([[], REQUEST, None])))
    assert bench.state("job-7") is State.QUEUED


def test_a_body_may_be_plain_json(bench: Bench) -> None:
    enqueued(bench, message(body=json.dumps([[REQUEST], {}, {}]), properties={}))
    assert bench.state("job-7") is State.QUEUED


def test_the_same_message_twice_is_one_job(bench: Bench) -> None:
    enqueued(bench, message(), message())
    assert [row.id for row in bench.rows(tables.jobs)] == ["job-7"]
    assert bench.rows(tables.rejected) == []


def test_in_a_queue_of_others_only_our_task_is_taken(bench: Bench) -> None:
    foreign = [json.dumps(message(task="theirs.add", task_id=str(n))).encode() for n in range(3)]
    enqueued(bench, foreign[0], message(), foreign[1], b"\x80no json", foreign[2], queue="celery")
    assert bench.state("job-7") is State.QUEUED
    left = bench.ctx.pulse.redis.lrange("celery", 0, -1)
    assert left == [foreign[2], b"\x80no json", foreign[1], foreign[0]]
    assert bench.rows(tables.rejected) == []


def test_ours_that_redis_itself_can_not_read_is_taken_too(bench: Bench) -> None:
    foreign, ours = ({"lang": "\ud800", "task": task, "id": "job-7"} for task in ("theirs.add", TASK))
    enqueued(bench, message(headers=foreign), message(headers=ours), queue="celery")
    assert bench.state("job-7") is State.QUEUED
    assert bench.ctx.pulse.redis.llen("celery") == 1


def test_ours_behind_many_of_others_that_nobody_takes_is_found(bench: Bench) -> None:
    redis, most = bench.ctx.pulse.redis, bench.ctx.policy.accept_batch
    redis.lpush("celery", *(json.dumps({"headers": {"task": "theirs.add", "id": str(n)}}) for n in range(3 * most)))
    for number in (1, 2):
        redis.lpush("celery", json.dumps(message(task_id=f"job-{number}")))
        for _ in range(5):
            bench.turn("accept")
        assert bench.state(f"job-{number}") is State.QUEUED
        redis.lpush("celery", *(json.dumps({"headers": {"task": "theirs.add", "id": str(n)}}) for n in range(most)))
    assert redis.llen("celery") == 5 * most


def test_more_than_a_turn_takes_is_taken_by_the_next_in_its_order(bench: Bench) -> None:
    number = bench.ctx.policy.accept_batch + 10
    enqueued(bench, *(message(task_id=f"job-{n:04d}") for n in range(number)))
    for _ in range(3):
        bench.turn("accept")
    rows = sorted(bench.rows(tables.jobs), key=lambda row: row.accepted_at)
    assert [row.id for row in rows] == [f"job-{n:04d}" for n in range(number)]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "is not a Celery message in JSON"),
        (b"{", "is not a Celery message in JSON"),
        (b"[]", "is not a Celery message in JSON"),
        (b"\x80\x04pickle", "is not a Celery message in JSON"),
        (b"[" * 100_000, "is not a Celery message in JSON"),
        (message(task="theirs.add"), "must be of the task reelworks.enqueue"),
        (message(headers=None), "must be of the task reelworks.enqueue"),
        ({"task": TASK, "id": "job-7", "args": [REQUEST]}, "by Celery's message protocol 2"),
        (message(**{"content-type": "application/x-python-serialize"}), "must be JSON"),
        (message(body="%%%"), "is not base64"),
        (message(body=None), "is not [arguments"),
        (message(body=body({})), "is not [arguments"),
        (message(body=body([[1, 2], {}])), "takes one argument"),
        (message(body=body([[1], {}, {}])), "a request is an object"),
        (message(body=body([[], {}, {}])), "name the model"),
    ],
)
def test_what_can_not_be_read_is_put_aside_with_its_reason(bench: Bench, raw: Any, reason: str) -> None:
    enqueued(bench, raw, message(task_id="job-8"))
    (aside,) = bench.rows(tables.rejected)
    assert reason in aside.reason
    assert bench.state("job-8") is State.QUEUED
    assert bench.ctx.pulse.redis.llen(ENQUEUE_QUEUE) == 0


def test_whoever_waits_for_a_refused_request_learns_why(bench: Bench, redis_url: str, tmp_path: Path) -> None:
    enqueued(bench, message(body=body([[{**REQUEST, "duration": 7}], {}, {}])))
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run(WAITER, tmp_path, redis_url, "job-7")
    assert "7 s is not offered" in failed.value.stderr
