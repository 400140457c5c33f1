"""A request as a whole: what is required, unknown or of another type is said at once, and nothing secret with it."""

from __future__ import annotations

import traceback
from decimal import Decimal
from enum import IntEnum
from typing import Any

import pytest

from schemas.errors import RequestInvalid
from schemas.images import ImageUrl
from schemas.requests import MAX_PROBLEMS, GenerationRequest, parse_request
from tests.support.requests import LIVE, MODEL, URL, raw

from .refusals import codes, problems


def test_the_least_request_has_the_documented_defaults() -> None:
    assert parse_request(raw()) == GenerationRequest(
        model=MODEL,
        first_frame_image=ImageUrl(URL),
        last_frame_image=None,
        prompt=None,
        prompt_optimizer=True,
        fast_pretreatment=None,
        duration=6,
        resolution="768P",
        callback_url=None,
        aigc_watermark=False,
        tenant="default",
        idempotency_key=None,
        metadata={},
        priority=0,
        deadline_s=None,
        max_cost_usd=None,
    )


def test_a_field_without_a_value_is_a_field_that_is_not_given() -> None:
    optional = [name for name in parse_request(raw()).__slots__ if name not in raw() and name != "warnings"]
    assert parse_request(raw(**dict.fromkeys(optional))) == parse_request(raw())


def test_every_field_is_kept() -> None:
    request = parse_request(
        raw(
            last_frame_image="https://pictures.example/end.png",
            prompt="a cat [pan left]",
            prompt_optimizer=False,
            duration=10,
            resolution="768P",
            callback_url="https://hooks.example/reelworks?token=1",
            aigc_watermark=True,
            tenant="Team_1-a",
            idempotency_key="order:77/1",
            metadata={"order": 77, "nested": {"list": [1, 2.5, None, True, "x"]}},
            priority=-3,
            deadline_s=900,
            max_cost_usd="0.30",
        )
    )
    assert request.last_frame_image == ImageUrl("https://pictures.example/end.png")
    assert (request.prompt, request.prompt_optimizer, request.aigc_watermark) == ("a cat [pan left]", False, True)
    assert (request.duration, request.resolution) == (10, "768P")
    assert request.callback_url == "https://hooks.example/reelworks?token=1"
    assert (request.tenant, request.idempotency_key, request.priority) == ("Team_1-a", "order:77/1", -3)
    assert request.metadata == {"order": 77, "nested": {"list": [1, 2.5, None, True, "x"]}}
    assert (request.deadline_s, request.max_cost_usd) == (900, Decimal("0.3"))
    assert request.warnings == ()


def test_model_and_first_frame_are_required() -> None:
    assert codes(raw(first_frame_image=...)) == [("first_frame_image", "required")]
    assert codes(raw(first_frame_image=None)) == [("first_frame_image", "required")]
    assert codes(raw(model=...)) == [("model", "required")]


def test_without_a_model_nothing_is_required_that_one_of_them_does_without() -> None:
    assert codes({}) == [("model", "required")]
    assert codes(raw(first_frame_image=None, model=None)) == [("model", "required")]


def test_an_unknown_model_is_refused_with_the_nearest() -> None:
    [problem] = problems(raw(model="minimax-hailuo-02"))
    assert (problem.field, problem.code) == ("model", "model_unknown")
    assert MODEL in problem.message
    assert codes(raw(model="")) == [("model", "model_unknown")]


def test_the_other_mistakes_of_a_request_for_an_unknown_model_are_named_too() -> None:
    request = raw(model="x", first_frame_image=..., duration=7, resolution="4K", prompt="[dolly in]")
    assert codes(request) == [
        ("model", "model_unknown"),
        ("prompt", "camera_unknown"),
        ("duration", "duration_not_offered"),
        ("resolution", "resolution_unknown"),
    ]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("promt", "prompt"),
        ("Prompt", "prompt"),
        ("first_frame", "first_frame_image"),
        ("lastFrameImage", "last_frame_image"),
        ("watermark", "aigc_watermark"),
        ("callback", "callback_url"),
        ("idempotencyKey", "idempotency_key"),
        ("deadline", "deadline_s"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_known_name(name: str, nearest: str) -> None:
    [problem] = problems(raw(**{name: None}))
    assert (problem.field, problem.code) == (name, "unknown_field")
    assert problem.message.endswith(f"the nearest known name is {nearest}")


def test_a_refusal_lists_no_more_problems_than_anybody_reads() -> None:
    found = problems(raw(priority=1000, **{f"field_{number}": number for number in range(5_000)}))
    assert (found[0].field, len(found)) == ("priority", MAX_PROBLEMS + 1)
    assert (found[-1].field, found[-1].code) == ("request", "too_many_problems")
    words = "".join(f"[zoom {first}{second}]" for first in "abcdefgh" for second in "abcdefgh")
    assert codes(raw(prompt=words)) == [("prompt", "camera_unknown")] * 20


def test_warnings_cannot_be_given() -> None:
    assert codes(raw(warnings=[])) == [("warnings", "unknown_field")]


@pytest.mark.parametrize("request_", [None, [], "x", 1, [raw()]])
def test_what_is_no_object_is_refused(request_: Any) -> None:
    assert codes(request_) == [("request", "not_an_object")]


class Six(IntEnum):
    SIX = 6


@pytest.mark.parametrize("value", ["6", 6.0, True, [6], {}, Six.SIX])
@pytest.mark.parametrize("name", ["duration", "priority", "deadline_s"])
def test_integers_are_strict(name: str, value: Any) -> None:
    assert codes(raw(**{name: value})) == [(name, "not_an_integer")]


@pytest.mark.parametrize("value", ["true", "", 1, 0, 1.0, [], {}])
@pytest.mark.parametrize("name", ["prompt_optimizer", "aigc_watermark"])
def test_booleans_are_strict(name: str, value: Any) -> None:
    assert codes(raw(**{name: value})) == [(name, "not_a_boolean")]
    assert codes(raw(model=LIVE, **{name: value})) == [(name, "not_a_boolean")]


@pytest.mark.parametrize("value", [1, True, 1.5, [], {}, b"x"])
@pytest.mark.parametrize(
    "name",
    [
        "model",
        "first_frame_image",
        "last_frame_image",
        "prompt",
        "resolution",
        "callback_url",
        "tenant",
        "idempotency_key",
    ],
)
def test_texts_are_strict(name: str, value: Any) -> None:
    assert codes(raw(**{name: value})) == [(name, "not_a_string")]


def test_all_problems_are_reported_at_once_in_the_order_of_the_fields() -> None:
    request = {
        "zebra": 1,
        "tenant": "a b",
        "duration": "6",
        "resolution": "4K",
        "prompt": "x" * 2001,
        "prompt_optimizer": "yes",
        "aigc_watermark": 1,
        "first_frame_image": "cat.jpg",
        "last_frame_image": "ftp://pictures.example/",
        "callback_url": "ws://hooks.example/",
        "idempotency_key": "",
        "metadata": [],
        "priority": 101,
        "deadline_s": 0,
        "max_cost_usd": 0.3,
    }
    assert codes(request) == [
        ("model", "required"),
        ("first_frame_image", "image_form"),
        ("last_frame_image", "url_scheme"),
        ("prompt", "prompt_too_long"),
        ("prompt_optimizer", "not_a_boolean"),
        ("duration", "not_an_integer"),
        ("resolution", "resolution_unknown"),
        ("callback_url", "url_scheme"),
        ("aigc_watermark", "not_a_boolean"),
        ("tenant", "bad_format"),
        ("idempotency_key", "bad_format"),
        ("metadata", "not_an_object"),
        ("priority", "out_of_range"),
        ("deadline_s", "out_of_range"),
        ("max_cost_usd", "not_an_amount"),
        ("zebra", "unknown_field"),
    ]


@pytest.mark.parametrize(("text", "code"), [("a\x00b", "text_nul"), ("a\ud800b", "text_surrogate")])
def test_text_that_cannot_be_stored_is_refused(text: str, code: str) -> None:
    assert codes(raw(prompt=text)) == [("prompt", code)]
    assert codes(raw(metadata={"a": {"b": text}})) == [("metadata.a.b", code)]
    assert codes(raw(metadata={"a": {text: 1}})) == [("metadata.a", code)]


def test_prompts_pictures_and_queries_appear_in_no_error_and_no_repr() -> None:
    bad = raw(
        first_frame_image="http://10.0.0.1/?canary=1",
        last_frame_image="data:image/png;base64,canarycanary",
        prompt="canary " * 400,
        callback_url="ftp://hooks.example/canary",
        duration=7,
    )
    with pytest.raises(RequestInvalid) as caught:
        parse_request(bad)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + str(caught.value.problems)
    assert "canary" not in told
    assert caught.value.__context__ is None
    good = raw(first_frame_image=f"{URL}?canary=1", prompt="canary", callback_url="https://hooks.example/canary")
    assert "canary" not in repr(parse_request(good))
