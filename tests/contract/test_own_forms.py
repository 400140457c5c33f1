"""Saved samples of what crosses a deploy (stream entries, views, rows, messages): this version reads and writes them.

A test here that fails means that workers of two versions, or workers and producers, would not understand one another.
Then the form has to be read in both ways for one release, and the new one gets a sample of its own.
"""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from schemas.jobs import Output, State, decode_record, encode_record
from schemas.requests import parse_request
from tasks.domain.answers import RemoteOutput
from tasks.domain.job import Job
from tasks.domain.looking import FinalAnswer
from tasks.hints import hint_create, hint_finish
from tasks.ledger import Ledger
from tasks.ledger.jobs import accept, get
from tasks.ledger.migrate import upgrade
from tests.support.jobs import NEW_JOB
from tests.support.valkey import Valkey, valkey_server
from workers.celeryconfig import config
from workers.settings import read_settings

SAMPLES = Path(__file__).parent / "samples" / "own"


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text())


def test_a_stream_entry() -> None:
    entry = sample("stream_entry")
    request = parse_request(json.loads(entry["request"]), stored_inputs=True)
    assert entry["v"] == "1"
    assert (request.resolution, request.duration, request.tenant) == ("768P", 10, "film")
    assert request.to_json() == entry["request"]


def test_a_stored_request() -> None:
    stored = sample("stored_request")
    assert parse_request(stored, stored_inputs=True).to_dict() == stored


@pytest.mark.parametrize("state", ["completed", "failed", "generating"])
def test_a_view(state: str) -> None:
    record = sample(f"view_{state}")
    view = decode_record(json.dumps(record))
    assert view is not None
    assert view.state is State(state)
    assert json.loads(encode_record(view)) == record


def test_a_view_from_a_later_version_is_still_read() -> None:
    record = sample("view_completed")
    record["reelworks"]["a_later_field"] = 1
    record["reelworks"]["outputs"][0]["a_later_field"] = 1
    view = decode_record(json.dumps(record))
    assert view is not None
    assert view.outputs == (Output(0, "video", "film/job-1/0.mp4", 1_038_900, "0f" * 32, 1366, 768, 6.0),)


def test_a_final_answer() -> None:
    kept = sample("final_answer")
    answer = FinalAnswer.from_json(kept)
    assert answer.usage.cost_usd == Decimal("0.28")
    assert answer.outputs[1] == RemoteOutput("image", "https://files.example/a.jpg", None)
    assert answer.to_json() == kept


class TestMessages:
    @pytest.fixture
    def broker(self, tmp_path: Path) -> Any:
        with valkey_server(tmp_path) as server:
            yield server

    @pytest.fixture
    def job(self, tmp_path: Path) -> Job:
        ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
        upgrade(ledger)
        with ledger.begin() as tx:
            accept(tx, [NEW_JOB])
            job = get(tx, NEW_JOB.id)
        ledger.close()
        assert job is not None
        return job

    @pytest.fixture(autouse=True)
    def app(self, broker: Valkey, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setenv("REELWORKS_REDIS_URL", broker.url)
        with Celery("contract") as app:
            app.config_from_object(config(read_settings()))
            app.loader.import_default_modules()
            app.set_default()
            app.set_current()
            yield app

    def message(self, broker: Valkey, queue: str) -> tuple[dict[str, Any], list[Any]]:
        raw = json.loads(broker.client.rpop(queue))
        return raw["headers"], json.loads(base64.b64decode(raw["body"]))

    def test_create_carries_the_id_alone_and_shows_what_people_search_for(self, broker: Valkey, job: Job) -> None:
        hint_create(job)
        headers, (args, kwargs, embedded) = self.message(broker, "create")
        assert (args, kwargs) == ([], {"job": "job-1"})
        assert not any(embedded.values())
        assert (headers["task"], headers["root_id"], headers["argsrepr"]) == ("reelworks.create", "job-1", "()")
        shown = {"job": "job-1", "model": "minimax_hailuo_02_i2v", "seconds": 6, "resolution": "768P"}
        assert headers["kwargsrepr"] == repr(shown)

    def test_the_completion_chain_is_download_then_record(self, broker: Valkey, job: Job) -> None:
        hint_finish(job)
        headers, (args, kwargs, embedded) = self.message(broker, "finish")
        assert (headers["task"], headers["root_id"], args, kwargs) == (
            "reelworks.download",
            "job-1",
            [],
            {"job": "job-1"},
        )
        (record,) = embedded["chain"]
        assert (record["task"], record["kwargs"], record["immutable"]) == ("reelworks.record", {"job": "job-1"}, True)
