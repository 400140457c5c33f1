"""The client's requests and what it makes of replies, without sockets."""

import json
import logging

import pytest
import requests
import responses

from tasks.domain.answers import Accepted, Completed, Failed, KeyRefused, LookAgain, NotFound, Throttled, Unknown
from tasks.transport import TRANSPORT_ERRORS, Deadlines, new_session
from tasks.vtrix.client import VtrixClient
from tests.unit.vtrix.replies import NOW

BASE = "https://provider.example"
KEY = "canary-key-1"
LIMITS = Deadlines(1, 2, 3)
BODY = {
    "model": "m",
    "input": [{"params": {"prompt": "a canary prompt", "first_frame_image": "data:image/png;base64,AA"}}],
}


class HiddenText(str):
    """A `str` that does not show itself."""

    __slots__ = ()

    def __str__(self):
        return "***"

    def __format__(self, spec):
        return "***"

    __repr__ = __str__


@pytest.fixture
def client():
    client = VtrixClient(BASE + "/", HiddenText(KEY), "main", create=LIMITS, poll=LIMITS, now=lambda: NOW)
    yield client
    client.close()


@pytest.fixture
def provider():
    with responses.RequestsMock() as mock:
        yield mock


def test_create_posts_the_body_once_with_the_key(client, provider):
    provider.post(BASE + "/model/v1/generation", json={"id": "t1", "status": "in_progress"})
    assert client.create(BODY) == Accepted("t1")
    (call,) = provider.calls
    assert call.request.headers["Authorization"] == "Bearer " + KEY
    assert call.request.headers["Content-Type"] == "application/json"
    assert json.loads(call.request.body) == BODY


def test_poll_asks_for_the_task_with_its_id_quoted(client, provider):
    provider.get(BASE + "/model/v1/generation/task/a%2Fb%3Fc", json={"id": "a/b?c", "status": "completed"})
    assert isinstance(client.poll("a/b?c"), Completed)
    assert provider.calls[0].request.headers["Authorization"] == "Bearer " + KEY


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(client, provider, status):
    elsewhere = {"Location": "https://elsewhere.example/"}
    provider.post(BASE + "/model/v1/generation", status=status, headers=elsewhere)
    provider.get(BASE + "/model/v1/generation/task/t1", status=status, headers=elsewhere)
    assert client.create(BODY) == Unknown(f"HTTP {status}", status)
    assert client.poll("t1") == LookAgain(f"HTTP {status}")
    assert len(provider.calls) == 2


@pytest.mark.parametrize("status", [500, 502, 503, 429, 401])
def test_nothing_is_tried_twice(client, provider, status):
    provider.post(BASE + "/model/v1/generation", status=status)
    provider.get(BASE + "/model/v1/generation/task/t1", status=status)
    client.create(BODY)
    client.poll("t1")
    assert len(provider.calls) == 2


def test_retry_after_reaches_the_outcome(client, provider):
    provider.post(BASE + "/model/v1/generation", status=429, headers={"Retry-After": "Thu, 01 Jan 2026 12:00:20 GMT"})
    assert client.create(BODY) == Throttled(20.0)


def test_unknown_task_is_not_found(client, provider):
    provider.get(BASE + "/model/v1/generation/task/t1", status=404)
    assert client.poll("t1") == NotFound()


def test_answer_beyond_the_cap_is_not_read_on(client, provider):
    provider.post(BASE + "/model/v1/generation", body=b"{" + b" " * (1024 * 1024 + 1))
    assert client.create(BODY) == Unknown("AnswerTooLarge")


def test_error_of_the_library_is_reduced_to_its_name(client, provider):
    text = requests.exceptions.ReadTimeout("https://provider.example/?secret=canary")
    provider.post(BASE + "/model/v1/generation", body=text)
    provider.get(BASE + "/model/v1/generation/task/t1", body=text)
    assert client.create(BODY) == Unknown("ReadTimeout")
    assert client.poll("t1") == LookAgain("ReadTimeout")


def test_tls_failure_on_create_is_unknown(client, provider):
    provider.post(BASE + "/model/v1/generation", body=requests.exceptions.SSLError("bad certificate"))
    assert client.create(BODY) == Unknown("SSLError")


def test_key_and_prompt_echoed_by_the_provider_are_not_passed_on(client, provider, caplog):
    caplog.set_level(logging.DEBUG)
    provider.post(
        BASE + "/model/v1/generation", status=403, json={"message": f"bad key {KEY}, prompt was a canary prompt"}
    )
    outcome = client.create(BODY)
    assert outcome == KeyRefused("http_403", "bad key …, prompt was …", 403)
    assert "canary" not in repr((client, vars(client)["alias"], outcome)) + caplog.text


def test_callback_url_and_its_token_are_in_no_message(client, provider):
    url = "https://ours.example/callbacks/canary-token"
    provider.post(BASE + "/model/v1/generation", status=400, json={"message": f"can not reach {url}"})
    body = {"model": "m", "input": [{"params": {"callback_url": url}}]}
    assert "canary" not in repr(client.create(body))


def test_key_is_in_no_message_of_a_poll(client, provider):
    answer = {"id": "t1", "status": "failed", "error": {"code": 10004095, "error_message": f"no credit on {KEY}"}}
    provider.get(BASE + "/model/v1/generation/task/t1", json=answer)
    failed = client.poll("t1")
    assert isinstance(failed, Failed)
    assert KEY not in repr(failed)


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "ключ-canary"])
def test_key_that_cannot_stand_in_a_header_is_refused_unshown(key):
    with pytest.raises(ValueError, match="'main' must be printable") as caught:
        VtrixClient(BASE, key, "main", create=LIMITS, poll=LIMITS)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("url", ["provider.example", "ftp://provider.example", "https://", "https://x.example/?a=1"])
def test_base_url_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="base URL"):
        VtrixClient(url, KEY, "main", create=LIMITS, poll=LIMITS)


def test_session_takes_nothing_from_the_environment(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    session = new_session(4)
    settings = session.merge_environment_settings(BASE, {}, None, None, None)
    assert settings["proxies"] == {}
    assert settings["verify"] is True
    assert session.get_adapter(BASE).max_retries.total == 0


def test_every_error_of_requests_counts_as_a_transport_error():
    assert issubclass(requests.exceptions.RequestException, TRANSPORT_ERRORS)
    assert issubclass(UnicodeError, TRANSPORT_ERRORS)
