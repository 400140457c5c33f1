"""Saved samples of what crosses a deploy (stream entries, views, rows, messages): this version reads and writes them.

A test here that fails means that workers of two versions, or workers and producers, would not understand one another.
Then the form has to be read in both ways for one release, and the new one gets a sample of its own.
"""

from __future__ import annotations

import ast
import base64
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st

from schemas.jobs import JobView, Output, State, decode_job, decode_record, encode_record
from schemas.requests import parse_request
from schemas.tracing import FIELD, traceparent_of
from tasks.domain.answers import FinalAnswer, RemoteOutput
from tasks.domain.job import Job
from tasks.forms.job import JobSchema, OutputSchema
from tasks.hints import hint_create, hint_finish, hint_record
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


def test_a_stream_entry_of_a_request_that_is_part_of_a_trace() -> None:
    entry = sample("stream_entry_traced")
    assert entry.keys() - sample("stream_entry").keys() == {FIELD}
    assert traceparent_of(entry[FIELD]) == entry[FIELD]
    assert parse_request(json.loads(entry["request"]), stored_inputs=True).to_json() == entry["request"]


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


@pytest.mark.parametrize("state", ["completed", "generating"])
def test_a_view_that_said_all_of_it_twice_is_read_as_well(state: str) -> None:
    assert decode_record(json.dumps(sample(f"view_{state}_1"))) == decode_record(json.dumps(sample(f"view_{state}")))


def test_a_job_as_the_gateway_tells_of_it() -> None:
    told, stored = decode_job(sample("gateway_job")), decode_record(json.dumps(sample("view_completed")))
    assert told is not None
    assert stored is not None
    assert told == replace(stored, outputs=tuple(replace(output, path="") for output in stored.outputs))


def test_the_sample_of_the_gateways_job_has_the_fields_that_it_writes() -> None:
    assert set(sample("gateway_job")) == set(JobSchema().fields) - {"warnings"}
    assert set(sample("gateway_job")["outputs"][0]) == set(OutputSchema().fields)


def test_a_view_of_a_file_that_is_not_kept_any_more_says_so() -> None:
    record = sample("view_pruned")
    view = decode_record(json.dumps(record))
    assert view is not None
    assert [output.kept for output in view.outputs] == [False]
    assert json.loads(encode_record(view)) == record


def test_a_view_from_a_later_version_is_still_read() -> None:
    record = sample("view_completed")
    record["result"]["a_later_field"] = 1
    record["result"]["outputs"][0]["a_later_field"] = 1
    view = decode_record(json.dumps(record))
    assert view is not None
    assert view.outputs == (Output(0, "video", "film/job-1/0.mp4", 1_038_900, "0f" * 32, 1366, 768, 6.0),)


def test_an_event_that_led_to_a_state_of_a_later_version_is_passed_over() -> None:
    record = sample("view_completed")
    before = decode_record(json.dumps(record))
    assert before is not None
    record["result"]["events"][1]["state"] = "a_later_state"
    view = decode_record(json.dumps(record))
    assert view is not None
    assert view == replace(before, events=before.events[:1] + before.events[2:])


def test_a_view_that_stands_in_a_state_of_a_later_version_is_not_guessed_at() -> None:
    record = sample("view_generating")
    record["result"]["state"] = "a_later_state"
    assert decode_record(json.dumps(record)) is None


def test_a_view_from_an_earlier_version_has_defaults_for_what_it_does_not_say() -> None:
    record = {"result": {"job_id": "job-1", "state": "completed", "outputs": [OLD_OUTPUT]}}
    view = decode_record(json.dumps(record))
    assert view == JobView("job-1", State.COMPLETED, outputs=(Output(0, "video", "film/0.mp4", 7, "0f"),))


OLD_OUTPUT = {"index": 0, "type": "video", "path": "film/0.mp4", "size_bytes": 7, "sha256": "0f"}


@pytest.mark.parametrize(
    "change",
    [
        *({"charged_usd": value} for value in ("", "much", "NaN", "Infinity", 0.28, [])),
        *({"state": value} for value in (None, 1, [], "")),
        *({"job_id": value} for value in (None, 1)),
        *({"metadata": value} for value in (None, [], "a")),
        *({"outputs": value} for value in (None, {}, "a", [1], [{}], [OLD_OUTPUT | {"size_bytes": "7"}])),
        *({"events": value} for value in (None, {}, "a", [1], [{}], ["state"])),
        *({"tenant": None}, {"charge_estimated": 1}, {"error_code": 7}),
    ],
    ids=str,
)
def test_a_view_with_a_malformed_value_is_not_read(change: dict[str, Any]) -> None:
    record = sample("view_completed")
    record["result"] |= change
    assert decode_record(json.dumps(record)) is None


@pytest.mark.parametrize(
    "change",
    [{"at": "2026-01-02T03:04:05"}, {"at": "soon"}, {"at": 7}, {"seq": "1"}, {"event": None}, {"state": 1}],
    ids=str,
)
def test_a_view_with_a_malformed_event_is_not_read(change: dict[str, Any]) -> None:
    record = sample("view_completed")
    record["result"]["events"][0] |= change
    assert decode_record(json.dumps(record)) is None


@pytest.mark.parametrize(
    "raw",
    ["", "{", "null", "[]", "7", "9" * 5000, "[" * 100_000, '{"result": 7}', '{"reelworks": []}', b"\xff", b"\x00"],
)
def test_what_is_no_record_is_not_read(raw: str | bytes) -> None:
    assert decode_record(raw) is None


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["completed", "NaN", "7"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
INFO = sample("view_completed")["result"]
names = st.sampled_from(sorted(INFO))
event_names, output_names = (st.sampled_from(sorted(INFO[each][0])) for each in ("events", "outputs"))


def is_read_or_not(record: Any) -> None:
    view = decode_record(json.dumps(record))
    if view is not None:
        assert decode_record(encode_record(view)) is not None


@given(anything, anything)
def test_any_json_is_a_view_or_is_not_read(record: Any, info: Any) -> None:
    is_read_or_not(record)
    is_read_or_not({"result": info})
    is_read_or_not({"reelworks": info})


@given(
    st.dictionaries(names, anything, max_size=2),
    st.dictionaries(event_names, anything, max_size=2),
    st.dictionaries(output_names, anything, max_size=2),
    st.sets(names, max_size=3),
)
def test_a_view_with_any_json_put_in_or_fields_left_out_is_a_view_or_is_not_read(
    info: Any, event: Any, output: Any, absent: set[str]
) -> None:
    record = sample("view_completed")
    inner = record["result"]
    inner["events"][0] |= event
    inner["outputs"][0] |= output
    record["result"] = {name: value for name, value in (inner | info).items() if name not in absent}
    is_read_or_not(record)


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
        hint_create([job])
        headers, (args, kwargs, embedded) = self.message(broker, "create")
        assert (args, kwargs) == ([], {"job": "job-1"})
        assert not any(embedded.values())
        assert (headers["task"], headers["root_id"], headers["argsrepr"]) == ("reelworks.create", "job-1", "()")
        shown = {"job": "job-1", "model": "minimax_hailuo_02_i2v", "seconds": 6, "resolution": "768P"}
        assert headers["kwargsrepr"] == repr(shown)

    def test_the_completion_chain_is_download_then_record(self, broker: Valkey, job: Job) -> None:
        hint_finish([job])
        headers, (args, kwargs, embedded) = self.message(broker, "finish")
        assert (headers["task"], headers["root_id"], args, kwargs) == (
            "reelworks.download",
            "job-1",
            [],
            {"job": "job-1"},
        )
        (record,) = embedded["chain"]
        assert (record["task"], record["kwargs"], record["immutable"]) == ("reelworks.record", {"job": "job-1"}, True)

    def test_jobs_that_completed_together_are_named_after_the_first(self, broker: Valkey, job: Job) -> None:
        hint_record([job, replace(job, id="job-2"), replace(job, id="job-3")])
        headers, (args, kwargs, _) = self.message(broker, "record")
        assert (headers["task"], headers["root_id"], args) == ("reelworks.record", "job-1", [])
        assert kwargs == {"job": "job-1", "more": ["job-2", "job-3"]}
        assert ast.literal_eval(headers["kwargsrepr"]) == {
            **kwargs,
            "model": "minimax_hailuo_02_i2v",
            "seconds": 6,
            "resolution": "768P",
        }
