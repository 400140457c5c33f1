"""What is read of a job's view, as a record and as the gateway tells it: another version's as far as it is known, and
nothing of what is no view. The forms themselves are held by `tests/contract/test_own_forms.py`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.jobs import JobView, Output, State
from schemas.records import decode_job, decode_record, encode_record
from tests.support.samples import sample

JOB: dict[str, Any] = {"id": "job-1", "state": "failed", "error": None, "outputs": [], "events": []}
OLD_OUTPUT = {"index": 0, "type": "video", "path": "film/0.mp4", "size_bytes": 7, "sha256": "0f"}


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


def test_a_job_of_a_later_gateway_is_read_as_far_as_it_is_known() -> None:
    view = decode_job({**JOB, "later": 1, "charged_usd": "0.28", "error": {"code": "c", "message": "m", "later": 1}})
    assert view is not None
    assert (view.job_id, view.state, view.charged_usd) == ("job-1", State.FAILED, Decimal("0.28"))
    assert (view.error_code, view.error_message, view.error_stage) == ("c", "m", None)


@pytest.mark.parametrize(
    "job", [None, [], {}, {**JOB, "state": "asleep"}, {**JOB, "id": 7}, {**JOB, "outputs": 7}], ids=str
)
def test_what_is_no_job_is_not_read(job: Any) -> None:
    assert decode_job(job) is None
