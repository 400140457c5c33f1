"""What replies mean. The create table is the one on which money hangs: each row says why."""

from datetime import timedelta
from email.utils import format_datetime

import pytest

from tasks.domain.answers import (
    Accepted,
    Completed,
    Failed,
    KeyRefused,
    LookAgain,
    NotFound,
    Rejected,
    Running,
    Throttled,
    Unknown,
)
from tasks.domain.retry_after import retry_after
from tasks.vtrix.outcomes import create_outcome, poll_answer
from tests.unit.vtrix.replies import NOW, reply

CREATES = [
    # 2xx
    (200, {"id": "a1", "status": "in_progress"}, Accepted),
    (202, {"id": "a1"}, Accepted),
    (200, {"id": "a1", "status": "failed", "error": {"code": 1008}}, Accepted),
    (200, {"data": {"id": "a1"}, "status": {"code": 200}}, Accepted),
    (200, {"error": "no"}, Rejected),
    (200, {"error": {"code": 10004099, "error_message": "no"}}, Rejected),
    (200, {"error": {"code": 1026, "message": "sensitive"}}, Rejected),
    (200, {"error": {"code": 1004}}, KeyRefused),
    (200, {"error": {"code": "1008"}}, KeyRefused),
    (200, {"error": {"code": 2049}}, KeyRefused),
    (200, {"error": {"code": 1002}}, Throttled),
    (200, {"error": {"code": 1039}}, Throttled),
    (200, {"error": {"code": 1041}}, Throttled),
    (200, {"error": {"message": "upstream said (1002)"}}, Throttled),
    (200, {"error": "Insufficient balance, please top up"}, KeyRefused),
    (200, {"error": {"message": "the image is 1004 px wide"}}, Rejected),
    (200, {"code": 1008, "message": "balance"}, KeyRefused),
    (200, {"status": {"code": 402, "message": "Insufficient credits", "error_code": 40201}, "data": None}, KeyRefused),
    (200, {"status": {"code": 429, "message": "slow down"}}, Throttled),
    (200, {"status": {"code": 400, "message": "bad"}}, Rejected),
    (200, {"status": {"code": 409, "message": "conflict"}}, Unknown),
    (200, {"status": {"code": 500, "message": "internal"}}, Unknown),
    (200, {"status": {"code": 200, "message": "ok"}, "data": None}, Unknown),
    (200, {"status": {"code": 1008, "message": "balance"}}, KeyRefused),
    (200, {"status": {"code": 1, "message": "success"}}, Unknown),
    (200, {"status": {"message": "ok"}}, Unknown),
    (200, {}, Unknown),
    (200, {"message": "ok"}, Unknown),
    (200, {"code": 0, "message": "ok"}, Unknown),
    (200, {"error": {}}, Unknown),
    (200, {"error": {"code": 0, "message": "success"}}, Unknown),
    (200, {"error": None, "status": "in_progress"}, Unknown),
    (200, {"error": True}, Unknown),
    (200, {"id": {"not": "text"}, "error": "no"}, Unknown),
    (200, b"", Unknown),
    (200, b"<html>", Unknown),
    (204, b"", Unknown),
    # 3xx and 1xx
    (301, {}, Unknown),
    (302, {"id": "a1"}, Unknown),
    (307, {"error": "no"}, Unknown),
    (199, {"id": "a1"}, Unknown),
    # 4xx that say no
    (400, {"error": {"code": 2013, "message": "bad"}}, Rejected),
    (400, b"not json", Rejected),
    (400, b'<p id="a1">', Rejected),
    (400, b'{"id": "", "error": "no', Rejected),
    (400, b'{"id": null, "error": "no', Rejected),
    (404, {}, Rejected),
    (405, {}, Rejected),
    (410, {}, Rejected),
    (413, {}, Rejected),
    (415, {}, Rejected),
    (422, {"message": "bad"}, Rejected),
    (451, {}, Rejected),
    (400, {"error": {"code": 1008, "message": "balance"}}, KeyRefused),
    (400, {"error": {"code": 1002}}, Throttled),
    (400, {"status": {"code": 402, "message": "credits"}}, KeyRefused),
    (400, {"status": {"code": 500, "message": "internal"}}, Rejected),
    (401, {}, KeyRefused),
    (402, {}, KeyRefused),
    (403, {"error": "permission denied"}, KeyRefused),
    (403, b"", KeyRefused),
    (403, {"error": {"code": 1026, "message": "sensitive"}}, Rejected),
    (429, {}, Throttled),
    (429, b"not json", Throttled),
    # 4xx that do not say whether it was done
    (408, {"error": {"code": 1008}}, Unknown),
    (409, {}, Unknown),
    (425, {}, Unknown),
    (499, {}, Unknown),
    # 5xx and beyond
    (500, {"error": {"code": 1008, "message": "balance"}}, Unknown),
    (502, b"<html>", Unknown),
    (503, {"error": {"code": 1002}}, Unknown),
    (504, {}, Unknown),
    (599, {"id": "a1"}, Unknown),
    (700, {}, Unknown),
]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"status": "in_progress", "error": "poll timeout"}),
        (200, {"status": "completed", "error": {"code": 1002, "message": "slow down"}}),
        (429, {"id": "a1", "error": "too many"}),
        (400, {"id": "a1", "error": {"code": 2013}}),
        (403, {"id": "a1"}),
        (403, b'{"id": "a1", "error": {"co'),
        (429, b'{"error": "too many"}{"id": 7}'),
        (400, b'{"id": "\'a1", "error": {"co'),
        (400, [{"id": "a1"}]),
        (400, {"status": "in_progress", "error": {"code": 2013}}),
        (429, {"data": {"status": "completed"}}),
    ],
)
def test_a_no_that_tells_of_a_task_is_unknown(status, body):
    # To believe it could mean to create a second task beside one that is paid for.
    assert type(create_outcome(reply(status, body), now=NOW)) is Unknown


@pytest.mark.parametrize("words", ["insufficient balance", "(1008) invalid", "(1002) rate limit"])
def test_words_of_a_prompt_that_is_quoted_are_not_the_providers(words):
    body = {"error": {"message": f"prompt not allowed: {words}"}}
    assert type(create_outcome(reply(400, body), now=NOW, hide=(words,))) is Rejected


@pytest.mark.parametrize(("status", "body", "kind"), CREATES)
def test_reply_to_a_create_has_the_outcome_of_the_table(status, body, kind):
    assert type(create_outcome(reply(status, body), now=NOW)) is kind


def test_refusal_carries_code_message_and_http_status():
    body = {"error": {"code": "0010004099", "error_message": "could not create"}}
    assert create_outcome(reply(422, body), now=NOW) == Rejected("010004099", "could not create", 422)


def test_refusal_without_a_code_is_named_by_its_http_status_and_explains_itself():
    assert create_outcome(reply(413), now=NOW) == Rejected("http_413", "The provider reported an error.", 413)


def test_message_of_a_refusal_does_not_repeat_what_is_hidden():
    body = {"error": {"code": 1026, "message": "sensitive: a red fox on a roof"}}
    outcome = create_outcome(reply(400, body), now=NOW, hide=("a red fox on a roof",))
    assert outcome.message == "sensitive: …"


@pytest.mark.parametrize("padding", [" " * 7_990, "\u200b" * 7_990, " " * 19_990])
def test_message_of_a_refusal_does_not_end_with_half_of_what_is_hidden(padding):
    body = {"error": {"code": 1026, "message": f"{padding}a red fox on a roof"}}
    outcome = create_outcome(reply(400, body), now=NOW, hide=("a red fox on a roof",))
    assert "a red" not in outcome.message


def test_code_of_a_refusal_does_not_repeat_what_is_hidden():
    body = {"error": {"code": "a-key-of-ours", "message": "bad key"}}
    assert create_outcome(reply(401, body), now=NOW, hide=("a-key-of-ours",)).code == "http_401"
    failed = poll_answer(reply(200, {"status": "failed", **body}), "a1", now=NOW, hide=("a-key-of-ours",))
    assert failed.code == "unknown"


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        (None, None),
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("0", 0.0),
        ("999999", 3600.0),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30.0),
        (format_datetime(NOW - timedelta(seconds=30), usegmt=True), 0.0),
        ("Thursday, 01-Jan-26 12:00:05 GMT", 5.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("Thu, 99 Foo 2026 12:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(header, wait_s):
    assert retry_after(header, NOW) == wait_s
    assert create_outcome(reply(429, {}, header), now=NOW) == Throttled(wait_s)


POLLS = [
    (200, {"status": "in_progress"}, Running),
    (200, {"status": "Processing"}, Running),
    (200, {"status": "whatever"}, Running),
    (200, {"id": "a1", "status": "COMPLETED"}, Completed),
    (200, {"id": "a1", "status": " done "}, Completed),
    (200, {"data": {"id": "a1", "status": "completed"}, "status": {"code": 200}}, Completed),
    (200, {"id": "a1", "status": "Failed"}, Failed),
    (200, {"id": "other", "status": "completed"}, LookAgain),
    (200, {"id": "other", "status": "failed"}, LookAgain),
    (200, {"id": "a1"}, LookAgain),
    (200, {"error": "no"}, LookAgain),
    (200, {"status": 5}, LookAgain),
    (200, {"status": ""}, LookAgain),
    (200, {"status": {"code": 500}}, LookAgain),
    (200, {"status": {"code": 404}}, NotFound),
    (200, b"{", LookAgain),
    (204, b"", LookAgain),
    (302, {"status": "completed"}, LookAgain),
    (400, {"status": "failed"}, LookAgain),
    (404, {}, NotFound),
    (404, b"<html>", NotFound),
    (410, {}, LookAgain),
    (429, {}, LookAgain),
    (500, {"status": "failed"}, LookAgain),
    (503, {}, LookAgain),
]


@pytest.mark.parametrize(("status", "body", "kind"), POLLS)
def test_reply_to_a_poll_has_the_meaning_of_the_table(status, body, kind):
    assert type(poll_answer(reply(status, body), "a1", now=NOW)) is kind


@pytest.mark.parametrize(
    ("status", "body", "key_refused"),
    [
        (401, {}, True),
        (402, {}, True),
        (403, {}, True),
        (200, {"status": {"code": 401, "message": "no"}}, True),
        (200, {"error": {"code": 1004, "message": "no"}}, True),
        (429, {}, False),
        (500, {"error": {"code": 1004, "message": "no"}}, False),
        (200, b"", False),
    ],
)
def test_look_that_failed_for_the_key_says_so(status, body, key_refused):
    assert poll_answer(reply(status, body), "a1", now=NOW).key_refused is key_refused


@pytest.mark.parametrize(
    ("status", "body", "throttled"),
    [(429, {}, True), (200, {"error": {"code": 1002}}, True), (500, {}, False), (401, {}, False)],
)
def test_look_tells_whether_the_key_asked_too_much(status, body, throttled):
    assert poll_answer(reply(status, body), "a1", now=NOW).throttled is throttled


def test_throttled_poll_carries_the_wait():
    assert poll_answer(reply(429, {}, "9"), "a1", now=NOW).retry_after_s == 9.0


@pytest.mark.parametrize(
    ("progress", "read"), [(0.5, 0.5), (-1, 0.0), (7, 1.0), ("0.25", 0.25), (True, None), (None, None), ([], None)]
)
def test_progress_is_clamped_or_absent(progress, read):
    assert poll_answer(reply(200, {"status": "in_progress", "progress": progress}), "a1", now=NOW) == Running(read)


def test_unknown_status_word_is_running_and_marked():
    assert poll_answer(reply(200, {"status": "rendering"}), "a1", now=NOW) == Running(None, status_known=False)


def test_failure_message_is_fit_for_people():
    body = {"status": "failed", "error": {"code": 1, "message": "bad\x00 \n https://x.example/a.png?sig=canary"}}
    answer = poll_answer(reply(200, body), "a1", now=NOW)
    assert answer == Failed("1", "bad https://x.example/a.png")
