"""The wire parser: any bytes give a value, money is exact or absent."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.domain.answers import CreateOutcome, PollAnswer
from tasks.vtrix.outcomes import Reply, create_outcome, poll_answer
from tasks.vtrix.wire import money, plain, progress_of, read_answer
from tests.unit.vtrix.replies import NOW

KEYS = ("id", "status", "progress", "output", "content", "type", "url", "duration", "usage", "cost", "discount")
MORE_KEYS = ("error", "error_message", "message", "code", "metadata", "data", "error_code")
WORDS = ("completed", "done", "FAILED", "in_progress", "", "0.28", "010004095", "https://x.example/v.mp4?s=1", "job1")

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(WORDS)
    | st.sampled_from([10004095, 402, 1008, 10**400, -1])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS + MORE_KEYS) | st.text(), inner, max_size=8)
    ),
    max_leaves=25,
)
bodies = (
    st.binary(max_size=200)
    | values.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(KEYS + MORE_KEYS), values, max_size=10).map(lambda v: json.dumps(v).encode())
)


@given(body=bodies, status=st.integers(100, 999), header=st.none() | st.text(max_size=40))
def test_any_answer_to_either_call_becomes_a_value_that_a_database_takes(body, status, header):
    reply = Reply(status, body, header)
    created = create_outcome(reply, now=NOW, hide=("a prompt",))
    polled = poll_answer(reply, "job1", now=NOW)
    assert isinstance(created, CreateOutcome)
    assert isinstance(polled, PollAnswer)
    for answer in (created, polled):
        assert len(getattr(answer, "message", "")) <= 500
        usage = getattr(answer, "usage", None)
        if usage is not None:
            stored = json.dumps([usage.raw, answer.metadata], allow_nan=False, ensure_ascii=False).encode()
            assert b"\x00" not in stored
            assert usage.cost_usd is None or (usage.cost_usd.is_finite() and usage.cost_usd >= 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"\xff\xfe\xff",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"id": "a"} trailing',
    ],
    ids=lambda body: repr(body[:12]),
)
def test_bytes_that_are_no_json_object_are_no_answer(body):
    assert read_answer(body) is None


@pytest.mark.parametrize(
    ("raw", "cost"),
    [
        ('"0.28"', "0.28"),
        ("0.28", "0.28"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("1", "1"),
        ("0", "0"),
        ("0e400", "0"),
        ('"-0"', "0"),
        ("2.8E-1", "0.28"),
        ('" 0.28 "', "0.28"),
        ('""', None),
        ('"free"', None),
        ('"1_000"', None),
        ('"٠.٢٨"', None),
        ('"0x10"', None),
        ("-0.28", None),
        ("true", None),
        ("null", None),
        ("NaN", None),
        ('"NaN"', None),
        ("Infinity", None),
        ("1e400", None),
        ("1e-400", None),
        ("1e99999999999999999999", None),
        ("9" * 5000, None),
        ("1000000", "1000000"),
        ("1000000.01", None),
        ('"' + "0." + "1" * 60 + '"', None),
        ("[0.28]", None),
        ('{"amount": 0.28}', None),
    ],
)
def test_cost_is_an_exact_decimal_or_absent(raw, cost):
    answer = read_answer(b'{"id": "a", "status": "completed", "usage": {"cost": %s}}' % raw.encode())
    assert answer.usage.cost_usd == (None if cost is None else Decimal(cost))
    assert cost is None or str(answer.usage.cost_usd) == cost


def test_missing_cost_is_absent_and_the_rest_of_usage_is_kept():
    answer = read_answer(b'{"usage": {"unit_price": 0.1, "quantity": 1, "note": "a\\u0000\\ud800b"}}')
    assert answer.usage.cost_usd is None
    assert answer.usage.raw == {"unit_price": "0.1", "quantity": 1, "note": "ab"}


@given(st.decimals(min_value=0, max_value=10_000, places=4))
def test_every_ordinary_amount_survives_unchanged(amount):
    assert money(str(amount)) == amount


def test_kept_values_are_bounded_in_size_and_depth():
    deep = value = {}
    for _ in range(50):
        value["inner"] = {}
        value = value["inner"]
    kept = plain({"deep": deep, "long": "x" * 100_000, "many": list(range(1000)), "big": 10**5000 // 10**4000})
    assert len(json.dumps(kept)) < 5000


@pytest.mark.parametrize(
    ("given_id", "task_id", "unreadable"),
    [
        ("d758n65e878c73cmdg20", "d758n65e878c73cmdg20", False),
        (12345, "12345", False),
        ("", None, False),
        (None, None, False),
        (True, None, True),
        ("two words", None, True),
        ("..", None, True),
        ("x" * 201, None, True),
        (["a"], None, True),
        (0, None, True),
        (-3, None, True),
    ],
)
def test_task_id_is_plain_text_or_absent_or_unreadable(given_id, task_id, unreadable):
    answer = read_answer(json.dumps({"id": given_id}).encode())
    assert (answer.task_id, answer.id_unreadable) == (task_id, unreadable)


@pytest.mark.parametrize(
    ("body", "task_id", "unreadable"),
    [
        (b'{"id": "a1", "id": "a1"}', "a1", False),
        (b'{"id": "a1", "id": "a2"}', None, True),
        (b'{"id": "a1", "data": NaN, "model": 1, "model": 2}', "a1", False),
        (b'{"id": "a1", "error": "no", "id": null}', None, True),
        (b'{"data": {"id": "a1"}, "error": "no", "data": null}', None, True),
        (b'{"data": {"id": "a1", "id": "a2"}}', None, True),
    ],
)
def test_task_id_that_is_given_twice_in_two_ways_is_unreadable(body, task_id, unreadable):
    answer = read_answer(body)
    assert (answer.task_id, answer.id_unreadable) == (task_id, unreadable)


@pytest.mark.parametrize(
    ("output", "types"),
    [
        ([{"content": [{"type": "video", "url": "https://x.example/a"}]}], ["video"]),
        ([{"content": [{"url": "https://x.example/a"}]}], ["unknown"]),
        ([{"content": {"type": "Image", "url": "https://x.example/a"}}], ["image"]),
        ({"content": [{"type": "video", "url": "https://x.example/a"}]}, ["video"]),
        ([{"type": "video", "url": "https://x.example/a"}], ["video"]),
        ([{"content": [{"type": "video"}, {"type": "video", "url": ""}, {"url": 5}, None, "x"]}], []),
        ([None, 3, "x", []], []),
        ("x", []),
    ],
)
def test_every_content_with_an_address_is_an_output_whatever_its_type(output, types):
    answer = read_answer(json.dumps({"output": output}).encode())
    assert [found.type for found in answer.outputs] == types


def test_signed_address_is_in_no_repr():
    answer = read_answer(b'{"output": [{"content": [{"type": "video", "url": "https://x.example/a?sig=canary"}]}]}')
    assert answer.outputs[0].url.endswith("canary")
    assert "canary" not in repr(answer)


TASK = "d758n65e878c73cmdg20"
AT_WORK = {"in_progress", "processing"}
near_answers = st.fixed_dictionaries(
    {
        "id": st.just(TASK) | scalars,
        "status": st.sampled_from(["in_progress", "processing", "completed", "Processing"]),
    },
    optional={"progress": scalars, "data": values, "error": scalars},
)


@settings(max_examples=100)
@given(answer=near_answers, twice=st.none() | st.tuples(st.sampled_from(["id", "status", "progress"]), scalars))
def test_the_short_way_to_read_an_answer_of_a_task_at_work_comes_to_the_same(answer, twice):
    body = json.dumps(answer)
    if twice is not None:
        body = body[:-1] + ", " + json.dumps({twice[0]: twice[1]})[1:]
    short, whole = progress_of(body.encode(), TASK, AT_WORK), read_answer(body.encode())
    if short is not None:
        assert (whole.task_id, whole.id_unreadable, whole.progress) == (TASK, False, *short)
        assert whole.status in AT_WORK


def test_the_usual_answer_of_a_task_at_work_is_read_the_short_way():
    body = {"id": TASK, "status": "in_progress", "progress": 0.457, "created_at": 1795682801, "model": "m"}
    assert progress_of(json.dumps(body).encode(), TASK, AT_WORK) == (0.457,)


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "a", "id": "b", "status": "in_progress"}',
        b'{"id": "b", "\\u0069d": "a", "status": "in_progress"}',
        b'{"id": "a", "status": "completed", "status": "in_progress"}',
        b'{"id": "a", "status": ["in_progress"]}',
        b'{"id": "b", "status": "in_progress"}',
        b'{"status": "in_progress"}',
        b'{"id": "a", "status": "in_progress", "progress": 1e99999999999999999999}',
        b'{"id": "a", "status": "in_progress", "progress": ' + b"9" * 5000 + b"}",
        b'{"id": "a", "status": "in_progress", "metadata": ' + b"[" * 100_000,
        b'{"id": "a", "status": "in_progress", "note": "\xff"}',
        '{"id": "a", "status": "in_progress"}'.encode("utf-16-le"),
        b'"id" "status"',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_anything_else_is_left_to_the_schema(body):
    assert progress_of(body, "a", AT_WORK) is None
