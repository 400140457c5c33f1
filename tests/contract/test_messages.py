"""What a message to a worker carries: ids alone to go by, and beside them what people search for in Flower."""

from __future__ import annotations

import ast
import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tasks.domain.job import Job
from tasks.hints import hint_create, hint_finish, hint_record
from tasks.ledger import Ledger
from tasks.ledger.jobs import accept, get
from tasks.ledger.migrate import upgrade
from tests.support.jobs import NEW_JOB
from tests.support.valkey import Valkey, valkey_server
from workers.celeryconfig import config
from workers.settings import read_settings


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Valkey]:
    with valkey_server(tmp_path) as server:
        yield server


@pytest.fixture
def job(tmp_path: Path) -> Job:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    upgrade(ledger)
    with ledger.begin() as tx:
        accept(tx, [NEW_JOB])
        job = get(tx, NEW_JOB.id)
    ledger.close()
    assert job is not None
    return job


@pytest.fixture(autouse=True)
def app(broker: Valkey, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    monkeypatch.setenv("REELWORKS_REDIS_URL", broker.url)
    with Celery("contract") as app:
        app.config_from_object(config(read_settings()))
        app.loader.import_default_modules()
        app.set_default()
        app.set_current()
        yield app


def message(broker: Valkey, queue: str) -> tuple[dict[str, Any], list[Any]]:
    raw = json.loads(broker.client.rpop(queue))
    return raw["headers"], json.loads(base64.b64decode(raw["body"]))


def test_create_carries_the_id_alone_and_shows_what_people_search_for(broker: Valkey, job: Job) -> None:
    hint_create([job])
    headers, (args, kwargs, embedded) = message(broker, "create")
    assert (args, kwargs) == ([], {"job": "job-1"})
    assert not any(embedded.values())
    assert (headers["task"], headers["root_id"], headers["argsrepr"]) == ("reelworks.create", "job-1", "()")
    shown = {"job": "job-1", "model": "minimax_hailuo_02_i2v", "seconds": 6, "resolution": "768P"}
    assert headers["kwargsrepr"] == repr(shown)


def test_the_completion_chain_is_download_then_record(broker: Valkey, job: Job) -> None:
    hint_finish([job])
    headers, (args, kwargs, embedded) = message(broker, "finish")
    assert (headers["task"], headers["root_id"]) == ("reelworks.download", "job-1")
    assert (args, kwargs) == ([], {"job": "job-1"})
    (record,) = embedded["chain"]
    assert (record["task"], record["kwargs"], record["immutable"]) == ("reelworks.record", {"job": "job-1"}, True)


def test_jobs_that_completed_together_are_named_after_the_first(broker: Valkey, job: Job) -> None:
    hint_record([job, replace(job, id="job-2"), replace(job, id="job-3")])
    headers, (args, kwargs, _) = message(broker, "record")
    assert (headers["task"], headers["root_id"], args) == ("reelworks.record", "job-1", [])
    assert kwargs == {"job": "job-1", "more": ["job-2", "job-3"]}
    assert ast.literal_eval(headers["kwargsrepr"]) == {
        **kwargs,
        "model": "minimax_hailuo_02_i2v",
        "seconds": 6,
        "resolution": "768P",
    }
