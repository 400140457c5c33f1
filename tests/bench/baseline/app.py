"""One Celery task a poll, `self.retry(countdown=...)` for the next, `requests` without a session, the default results.

`main` with `jobs N` asks for N whole jobs, with `polls N` it has N tasks polled that never complete.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import redis
import requests
from celery import Celery, chain
from marshmallow import Schema, fields, validate

from tests.bench.orders import DONE, FOLDER, POLL_S, PROVIDER_URL, REDIS_URL, create_body, job_hash, ordered

_HEADERS = {"Authorization": "Bearer sk-bench"}

app = Celery("baseline", broker=REDIS_URL, backend=REDIS_URL)
records = redis.Redis.from_url(REDIS_URL)


class Order(Schema):
    """What is asked for, checked as anybody would."""

    id = fields.Str(required=True)
    model = fields.Str(required=True)
    prompt = fields.Str(required=True, validate=validate.Length(1, 2000))
    first_frame_image = fields.Url(required=True)
    resolution = fields.Str(validate=validate.OneOf(["512P", "768P", "1080P"]))
    duration = fields.Int(validate=validate.OneOf([6, 10]))
    metadata = fields.Dict()


@app.task(autoretry_for=(requests.RequestException,), retry_backoff=True, max_retries=5)
def submit(order: dict[str, Any]) -> dict[str, Any]:
    url = f"{PROVIDER_URL}/model/v1/generation"
    answer = requests.post(url, json=create_body(order), headers=_HEADERS, timeout=30)
    answer.raise_for_status()
    return {"id": order["id"], "task": answer.json()["id"]}


@app.task(bind=True, max_retries=None)
def poll(self: Any, job: dict[str, Any]) -> dict[str, Any]:
    answer = requests.get(f"{PROVIDER_URL}/model/v1/generation/task/{job['task']}", headers=_HEADERS, timeout=30)
    answer.raise_for_status()
    body = answer.json()
    if body["status"] == "in_progress":
        raise self.retry(countdown=POLL_S)
    if body["status"] != "completed":
        raise RuntimeError("the provider failed")
    return {**job, "url": body["output"][0]["content"][0]["url"], "cost": body["usage"]["cost"]}


@app.task(autoretry_for=(requests.RequestException,), retry_backoff=True, max_retries=5)
def download(job: dict[str, Any]) -> dict[str, Any]:
    answer = requests.get(job["url"], timeout=120)
    answer.raise_for_status()
    Path(FOLDER, f"{job['id']}.mp4").write_bytes(answer.content)
    return job


@app.task
def record(job: dict[str, Any]) -> None:
    records.hset(f"job:{job['id']}", mapping=job_hash(job))
    records.rpush(DONE, json.dumps([job["task"], time.time()]))


def main() -> None:
    what, number = sys.argv[1], int(sys.argv[2])
    for order in ordered(number):
        if what == "polls":
            poll.delay({"id": order["id"], "task": f"held-{order['id']}"})
        else:
            chain(submit.s(Order().load(order)), poll.s(), download.s(), record.s()).apply_async()
