"""Whatever comes through the doors in Redis, or to where the provider calls back: nothing crashes, nothing is lost.

`REELWORKS_DOOR_CASES` says how many there are of each: `make fuzz-doors` takes 20,000 in all.
"""

from __future__ import annotations

import base64
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import structlog

from schemas import data_url, keys
from schemas.keys import ENQUEUE_QUEUE
from tasks import context
from tasks.domain.callbacks import Callbacks
from tasks.enqueued import TASK
from tasks.ledger import tables
from tests.support.bench import MODEL, URL, Bench
from tests.support.doors import TOKENS, Door, client
from tests.support.pictures import picture

CASES = int(os.environ.get("REELWORKS_DOOR_CASES", "400"))
SEED = int(os.environ.get("REELWORKS_DOOR_SEED", "7"))

pytestmark = pytest.mark.timeout(60 + CASES // 20)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of refusals need no log: to print it took longer than all else."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


STRANGE: list[Any] = [None, True, 0, -1, 1e308, "", "\x00", "\ud800", "ü" * 50, [], {}, [[]], {"a": {"b": []}}, 10**40]
FOREIGN = "theirs.add"


def request(die: Random) -> Any:
    """A request, often with something strange in it, sometimes none at all."""
    made: dict[str, Any] = {"model": MODEL, "first_frame_image": URL}
    if die.random() < 0.05:
        made["first_frame_image"] = data_url(picture())
    for _ in range(die.choice([0, 0, 1, 1, 3])):
        name = die.choice(
            [*made, "prompt", "duration", "tenant", "metadata", "priority", "deadline_s", "no_such_field"]
        )
        made[name] = die.choice([*STRANGE, 6, "768P", "film"])
    return made if die.random() < 0.9 else die.choice(STRANGE)


def text(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def damaged(raw: bytes, die: Random) -> bytes:
    """Now and then a byte is another, or the end is missing."""
    if not raw or die.random() < 0.7:
        return raw
    at = die.randrange(len(raw))
    return raw[:at] + die.choice([b"", bytes([die.randrange(256)]) + raw[at + 1 :]])


def entry(number: int, die: Random) -> dict[Any, Any]:
    """A stream entry; what its id is, and which fields it has, is as strange as its request."""
    fields: dict[Any, Any] = {
        b"v": b"1",
        b"job": f"job-{number}".encode(),
        b"request": damaged(text(request(die)), die),
    }
    if die.random() < 0.2:
        fields[die.choice([b"v", b"job", b"request", b"celery", b"\xff"])] = die.choice([b"", b"\xff", b"2", b"[]"])
    if die.random() < 0.1:
        del fields[die.choice(list(fields))]
    return fields or {b"": b""}


def message(number: int, die: Random, task: str = TASK) -> bytes:
    """A Celery message, damaged now and then."""
    body = base64.b64encode(text([[request(die)], {}, {}])).decode()
    made: dict[str, Any] = {
        "body": body,
        "content-type": "application/json",
        "headers": {"task": task, "id": f"message-{number}"},
        "properties": {"body_encoding": "base64"},
    }
    if die.random() < 0.2:
        made[die.choice(list(made))] = die.choice(STRANGE)
    return damaged(text(made), die)


def test_each_entry_becomes_a_job_or_is_put_aside_with_its_reason(bench: Bench) -> None:
    die, redis = Random(SEED), bench.ctx.pulse.redis
    put: Counter[str] = Counter()
    for number in range(CASES):
        kind = die.choice(["stream", "stream", "queue", "shared queue", "command"])
        put[kind] += 1
        if kind == "stream":
            redis.xadd(keys.REQUESTS, entry(number, die))
        elif kind == "queue":
            redis.lpush(ENQUEUE_QUEUE, message(number, die))
        elif kind == "shared queue":
            redis.lpush("celery", message(number, die, die.choice([TASK, FOREIGN])))
        else:
            word = die.choice([b"cancel", b"retry", b"called", b"", b"\xff"])
            named = die.choice([b"job-1", b"nobodys", b"\xff", b""])
            redis.xadd(keys.COMMANDS, {b"v": die.choice([b"1", b"2"]), b"command": word, b"job": named})
        if number % 50 == 0:
            bench.turn("accept")
    while redis.xlen(keys.REQUESTS) or redis.llen(ENQUEUE_QUEUE):
        bench.turn("accept")
    for _ in range(1 + redis.llen("celery") // bench.ctx.policy.accept_batch):
        bench.turn("accept")  # which looks through a part of what others left there
    for _ in range(1 + put["command"] // bench.ctx.policy.accept_batch):
        bench.turn("accept")
    jobs, aside = bench.rows(tables.jobs), bench.rows(tables.rejected)
    commands = [row for row in aside if row.id.startswith("command:")]
    left = redis.llen("celery")
    assert len(jobs) + len(aside) - len(commands) + left == put.total() - put["command"]
    assert all(row.reason for row in aside)
    assert len(jobs) > CASES // 20  # some of them were good
    assert not any(FOREIGN not in raw.decode("latin-1") and TASK in raw.decode("latin-1") for raw in whole(redis))


def whole(redis: Any) -> list[bytes]:
    """Of what was left in the shared queue, the messages that can be read at all, and are of a task."""
    found = []
    for raw in redis.lrange("celery", 0, -1):
        try:
            headers = json.loads(raw)["headers"]
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        if isinstance(headers, dict) and headers.get("task") == TASK:
            found.append(raw)
    return found


def test_whatever_the_provider_calls_it_is_answered(bench: Bench) -> None:
    ctx = replace(bench.ctx, callbacks=Callbacks("https://films.example", TOKENS))
    context.install(lambda: ctx)
    called = replace(bench, ctx=ctx)
    called.generating()
    (attempt,) = called.rows(tables.attempts)
    die, door, seen = Random(SEED), Door(client()), Counter[int]()
    before = called.rows(tables.jobs)
    for _ in range(CASES):
        token = TOKENS.token(attempt.id)
        if die.random() < 0.2:
            token = damaged(token.encode(), die).decode("latin-1").replace("/", "").replace("?", "") or "x"
        body = die.choice(
            [{"challenge": die.choice(STRANGE)}, {"id": die.choice(STRANGE)}, {"status": "success"}, request(die)]
        )
        ctx.pulse.redis.delete("reelworks:called:" + attempt.id)
        seen[door.ask("POST", f"/callbacks/{token}", data=damaged(text(body), die)).status_code] += 1
    assert set(seen) <= {200, 404}
    assert seen[200] > CASES // 2
    assert called.rows(tables.jobs) == before
