"""Saved samples of what crosses a deploy (stream entries, views, rows, a spool): this version reads and writes them.

A test here that fails means that workers of two versions, or workers and producers, would not understand one another.
Then the form has to be read in both ways for one release, and the new one gets a sample of its own. What is made of a
view that is none of these is in `tests/unit/schemas/test_records.py`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from schemas.jobs import State
from schemas.records import decode_job, decode_record, encode_record
from schemas.requests import parse_request
from schemas.tracing import FIELD, traceparent_of
from tasks.domain.answers import FinalAnswer, RemoteOutput
from tasks.domain.creating import Answer
from tasks.domain.transitions import Event
from tasks.forms.job import JobSchema, OutputSchema
from tests.support.samples import sample


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


def test_a_final_answer() -> None:
    kept = sample("final_answer")
    answer = FinalAnswer.from_json(kept)
    assert answer.usage.cost_usd == Decimal("0.28")
    assert answer.outputs[1] == RemoteOutput("image", "https://files.example/a.jpg", None)
    assert answer.to_json() == kept


def test_a_spooled_answer() -> None:
    entry = sample("spool_entry")
    answer = Answer.from_json(entry)
    assert (answer.verdict.event, answer.verdict.provider_task_id) == (Event.ACCEPTED, "task-1")
    assert answer.to_json() == entry
