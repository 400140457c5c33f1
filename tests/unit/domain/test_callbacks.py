"""Tokens that only we can make, and what is read of a call."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.callbacks import Callbacks, CallbackTokens, Called, read_call

TOKENS = CallbackTokens(b"secret")
ATTEMPT = "0f8fad5b-d9cb-469f-a165-70867728950e"


def test_a_token_stands_for_its_attempt() -> None:
    assert TOKENS.attempt_of(TOKENS.token(ATTEMPT)) == ATTEMPT


@given(st.text())
def test_what_was_not_made_here_stands_for_nothing(token: str) -> None:
    assert TOKENS.attempt_of(token) is None


@pytest.mark.parametrize(
    "token",
    [
        TOKENS.token(ATTEMPT)[:-1],
        TOKENS.token(ATTEMPT) + "0",
        TOKENS.token(ATTEMPT).replace("0f8f", "0f8e"),
        CallbackTokens(b"another").token(ATTEMPT),
        f"{ATTEMPT}.",
        "\ud800.\ud800",
    ],
)
def test_a_token_that_was_changed_stands_for_nothing(token: str) -> None:
    assert TOKENS.attempt_of(token) is None


def test_the_provider_is_given_an_address_with_the_token() -> None:
    url = Callbacks("https://films.example", TOKENS).url(ATTEMPT)
    assert url == f"https://films.example/callbacks/{TOKENS.token(ATTEMPT)}"


def test_the_secret_is_not_shown() -> None:
    assert "secret" not in repr(Callbacks("https://films.example", TOKENS)).replace("secret=", "")


@pytest.mark.parametrize(
    ("body", "called"),
    [
        ({"challenge": "abc"}, Called(challenge="abc")),
        ({"task_id": "t1", "status": "success"}, Called(provider_task_id="t1")),
        ({"task_id": "t1", "status": "Processing"}, Called(provider_task_id="t1", goes_on=True)),
        ({"id": "t1", "status": "in_progress"}, Called(provider_task_id="t1", goes_on=True)),
        ({"id": "t1", "status": "completed", "output": []}, Called(provider_task_id="t1")),
        ({"id": 7, "task_id": "t1"}, Called(provider_task_id="t1")),
        ({"status": "failed"}, Called()),
        ({"challenge": "x" * 1025, "id": "x" * 256}, Called()),
        ({"challenge": "", "id": ""}, Called()),
        ({"id": "a\nb"}, Called()),
        ([], Called()),
        ("t1", Called()),
        (None, Called()),
    ],
)
def test_a_call_is_read_in_either_form(body: Any, called: Called) -> None:
    assert read_call(json.dumps(body).encode()) == called


@given(st.binary())
def test_a_call_of_any_bytes_is_read(body: bytes) -> None:
    assert isinstance(read_call(body), Called)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"id": "\\ud800"}'])
def test_what_can_not_be_read_says_nothing(body: bytes) -> None:
    assert read_call(body) == Called()
