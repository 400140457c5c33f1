from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, replace
from decimal import Decimal
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from schemas import models
from schemas.errors import Problem, RequestInvalid
from schemas.images import ImageBytes, ImageRef, ImageUrl
from schemas.requests import _DIRECT, DEADLINE_MAX_S, MAX_PROBLEMS, GenerationRequest, parse_request

from .pictures import MODEL, TEXT_MODEL, URL, as_data_url, picture, raw


def problems(request: Mapping[str, Any], *, stored_inputs: bool = False) -> list[Problem]:
    with pytest.raises(RequestInvalid) as caught:
        parse_request(request, stored_inputs=stored_inputs)
    assert all(problem.message for problem in caught.value.problems)
    return list(caught.value.problems)


def refusals(request: Any, *, stored_inputs: bool = False) -> list[Problem]:
    """The problems of a request; none when it is accepted. Any other exception than `RequestInvalid` comes through."""
    try:
        parsed = parse_request(request, stored_inputs=stored_inputs)
    except RequestInvalid as error:
        return list(error.problems) or pytest.fail("refused without a problem")
    assert isinstance(parsed, GenerationRequest)
    return []


def codes(request: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(problem.field, problem.code) for problem in problems(request)]


# --- defaults and the two tables ------------------------------------------------------------------------------------


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
    assert request.is_start_end
    assert request.last_frame_image == ImageUrl("https://pictures.example/end.png")
    assert (request.prompt, request.prompt_optimizer, request.aigc_watermark) == ("a cat [pan left]", False, True)
    assert (request.duration, request.resolution) == (10, "768P")
    assert request.callback_url == "https://hooks.example/reelworks?token=1"
    assert (request.tenant, request.idempotency_key, request.priority) == ("Team_1-a", "order:77/1", -3)
    assert request.metadata == {"order": 77, "nested": {"list": [1, 2.5, None, True, "x"]}}
    assert (request.deadline_s, request.max_cost_usd) == (900, Decimal("0.3"))
    assert request.warnings == ()


IMAGE_TO_VIDEO = {6: ["512P", "768P", "1080P"], 10: ["512P", "768P"]}
START_END = {6: ["768P", "1080P"], 10: ["768P"]}


@pytest.mark.parametrize("last", [..., URL], ids=["image-to-video", "start-end"])
@pytest.mark.parametrize("duration", [6, 10])
@pytest.mark.parametrize("resolution", ["512P", "768P", "1080P"])
def test_each_row_of_the_two_tables(last: Any, duration: int, resolution: str) -> None:
    request = raw(last_frame_image=last, duration=duration, resolution=resolution)
    allowed = (IMAGE_TO_VIDEO if last is ... else START_END)[duration]
    if resolution in allowed:
        parsed = parse_request(request)
        assert (parsed.duration, parsed.resolution) == (duration, resolution)
        assert parsed.estimate_usd() > 0
    else:
        [problem] = problems(request)
        assert (problem.field, problem.code) == ("resolution", "resolution_not_offered")
        assert f"{resolution} is not offered for {duration} s" in problem.message
        assert problem.message.endswith(f"allowed: {', '.join(allowed)}")


@pytest.mark.parametrize("last", [..., URL])
@pytest.mark.parametrize("duration", [6, 10])
def test_the_default_resolution_holds_for_every_duration(last: Any, duration: int) -> None:
    assert parse_request(raw(last_frame_image=last, duration=duration)).resolution == "768P"


def test_the_default_duration_is_six_seconds() -> None:
    assert parse_request(raw(resolution="1080P")).duration == 6


@pytest.mark.parametrize("duration", [0, -6, 5, 7, 8, 60, 2**63 - 1, 10**30])
def test_other_durations_are_refused(duration: int) -> None:
    [problem] = problems(raw(duration=duration))
    assert (problem.field, problem.code) == ("duration", "duration_not_offered")
    assert problem.message.endswith("allowed: 6 s, 10 s")


@pytest.mark.parametrize("resolution", ["768p", "512p", "1080p"])
def test_the_case_of_a_resolution_does_not_matter(resolution: str) -> None:
    assert parse_request(raw(resolution=resolution)).resolution == resolution.upper()


@pytest.mark.parametrize("resolution", ["", "768", "720P", "4K", "768 P", "x" * 1000])
def test_other_resolutions_are_refused(resolution: str) -> None:
    [problem] = problems(raw(resolution=resolution))
    assert (problem.field, problem.code) == ("resolution", "resolution_unknown")
    assert problem.message.endswith("allowed: 512P, 768P, 1080P")
    assert len(problem.message) < 150


def test_a_wrong_duration_does_not_hide_a_resolution_that_no_duration_offers() -> None:
    request = raw(last_frame_image=URL, duration=7, resolution="512P")
    assert codes(request) == [("duration", "duration_not_offered"), ("resolution", "resolution_not_offered")]


def test_the_estimate_is_the_list_price() -> None:
    assert parse_request(raw()).estimate_usd() == Decimal("0.28")
    assert parse_request(raw(duration=10, resolution="512P")).estimate_usd() == Decimal("0.15")


# --- each model -----------------------------------------------------------------------------------------------------

FROM_A_PICTURE = ["minimax_hailuo_23_i2v", "minimax_hailuo_23_fast_i2v", "minimax_i2v_01_live"]
HAILUO_23 = [TEXT_MODEL, "minimax_hailuo_23_i2v", "minimax_hailuo_23_fast_i2v"]
LIVE = "minimax_i2v_01_live"
LATER = [*HAILUO_23, LIVE]


def test_every_model_is_tried_here() -> None:
    assert list(models.MODELS) == [MODEL, *LATER]


@pytest.mark.parametrize(
    ("model", "resolution", "usd"),
    [
        (MODEL, "768P", "0.28"),
        (TEXT_MODEL, "768P", "0.28"),
        ("minimax_hailuo_23_i2v", "768P", "0.28"),
        ("minimax_hailuo_23_fast_i2v", "768P", "0.19"),
        (LIVE, "720P", "0.43"),
    ],
)
def test_what_a_model_requires_is_enough(model: str, resolution: str, usd: str) -> None:
    request = parse_request(raw(model=model))
    assert (request.model, request.duration, request.resolution) == (model, 6, resolution)
    assert (request.first_frame_image is None) == (model == TEXT_MODEL)
    assert (request.prompt_optimizer, request.fast_pretreatment, request.aigc_watermark) == (True, None, False)
    assert request.estimate_usd() == Decimal(usd)


@pytest.mark.parametrize("model", LATER)
def test_every_field_of_a_later_model_is_kept(model: str) -> None:
    fields = {
        "prompt": "a cat [pan left]",
        "prompt_optimizer": False,
        "fast_pretreatment": True,
        "callback_url": "https://hooks.example/reelworks",
        "aigc_watermark": True,
    }
    request = parse_request(raw(model=model, **fields))
    assert {name: getattr(request, name) for name in fields} == fields
    assert parse_request(json.loads(request.to_json()), stored_inputs=True) == request


@pytest.mark.parametrize("model", HAILUO_23)
@pytest.mark.parametrize("duration", [6, 10])
@pytest.mark.parametrize("resolution", ["768P", "1080P"])
def test_each_row_of_the_table_of_the_newer_generation(model: str, duration: int, resolution: str) -> None:
    request = raw(model=model, duration=duration, resolution=resolution)
    if (duration, resolution) == (10, "1080P"):
        [problem] = problems(request)
        assert (problem.field, problem.code) == ("resolution", "resolution_not_offered")
        assert problem.message == "1080P is not offered for 10 s; allowed: 768P"
    else:
        parsed = parse_request(request)
        assert (parsed.duration, parsed.resolution) == (duration, resolution)


NOT_OF_ALL = [
    *((model, {"first_frame_image": ...}, ("first_frame_image", "required")) for model in FROM_A_PICTURE),
    *((TEXT_MODEL, {"prompt": prompt}, ("prompt", "required")) for prompt in (..., None, "", " \n")),
    (TEXT_MODEL, {"first_frame_image": URL}, ("first_frame_image", "field_not_of_model")),
    *((model, {"last_frame_image": URL}, ("last_frame_image", "field_not_of_model")) for model in LATER),
    (MODEL, {"fast_pretreatment": False}, ("fast_pretreatment", "field_not_of_model")),
    *((model, {"fast_pretreatment": 1}, ("fast_pretreatment", "not_a_boolean")) for model in LATER),
    *((model, {"prompt": "x" * 2001}, ("prompt", "prompt_too_long")) for model in LATER),
    *((model, {"prompt": "[wobble, pan left]"}, ("prompt", "camera_unknown")) for model in LATER),
    *((model, {"duration": 7}, ("duration", "duration_not_offered")) for model in LATER),
    (LIVE, {"duration": 10}, ("duration", "duration_not_offered")),
    *((model, {"resolution": "512P"}, ("resolution", "resolution_unknown")) for model in LATER),
    *((model, {"resolution": "720P"}, ("resolution", "resolution_unknown")) for model in HAILUO_23),
    *((LIVE, {"resolution": word}, ("resolution", "resolution_unknown")) for word in ("768P", "1080P")),
]


@pytest.mark.parametrize(("model", "change", "refusal"), NOT_OF_ALL)
def test_what_one_model_does_not_take_is_refused_alone(
    model: str, change: dict[str, Any], refusal: tuple[str, str]
) -> None:
    assert codes(raw(model=model, **change)) == [refusal]


def test_a_refusal_names_the_model_whose_rule_it_is() -> None:
    assert [problem.message for problem in problems(raw(model=TEXT_MODEL, first_frame_image=URL, prompt=""))] == [
        f"this field is not taken by {TEXT_MODEL}",
        f"a prompt with words in it is required by {TEXT_MODEL}",
    ]
    [problem] = problems(raw(model=LIVE, last_frame_image=URL))
    assert problem.message == f"this field is not taken by {LIVE}"


@pytest.mark.parametrize("model", LATER)
def test_pretreatment_is_written_out_only_where_it_was_given(model: str) -> None:
    plain, given = parse_request(raw(model=model)), parse_request(raw(model=model, fast_pretreatment=False))
    assert "fast_pretreatment" not in plain.to_dict()
    assert given.to_dict()["fast_pretreatment"] is False
    assert plain.fingerprint() != given.fingerprint()


def test_the_stored_form_holds_no_field_that_the_model_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a field's default: as a value it would be refused when the stored form is read."""
    known = models.get(MODEL)
    bare = replace(known, name="bare", fields=known.fields - {"prompt_optimizer", "aigc_watermark"})
    monkeypatch.setattr(models, "MODELS", {**models.MODELS, "bare": bare})
    request = parse_request(raw(model="bare"))
    assert request.to_dict().keys().isdisjoint({"prompt_optimizer", "aigc_watermark"})
    assert parse_request(request.to_dict(), stored_inputs=True) == request


# --- required, unknown, types ---------------------------------------------------------------------------------------


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


def test_what_is_invisible_in_a_camera_word_is_marked_in_the_message() -> None:
    (problem,) = problems(raw(prompt="[pan left, \x1b\u200bwobble]"))
    assert "[\ufffd\ufffdwobble] is not a camera instruction" in problem.message


def test_what_is_invisible_in_a_key_of_metadata_is_marked_in_the_field() -> None:
    (problem,) = problems(raw(metadata={"a\r\nb": {"c": float("inf")}}))
    assert problem.field == "metadata.a\ufffd\ufffdb.c"


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


# --- prompt ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("char", ["a", "é", "猫", "🐈"])
def test_a_prompt_is_counted_in_code_points(char: str) -> None:
    assert parse_request(raw(prompt=char * 2000)).prompt == char * 2000
    [problem] = problems(raw(prompt=char * 2001))
    assert (problem.field, problem.code) == ("prompt", "prompt_too_long")
    assert "2000" in problem.message
    assert "2001" in problem.message


def test_an_empty_prompt_is_a_prompt() -> None:
    assert parse_request(raw(prompt="")).prompt == ""


@pytest.mark.parametrize(("text", "code"), [("a\x00b", "text_nul"), ("a\ud800b", "text_surrogate")])
def test_text_that_cannot_be_stored_is_refused(text: str, code: str) -> None:
    assert codes(raw(prompt=text)) == [("prompt", code)]
    assert codes(raw(metadata={"a": {"b": text}})) == [("metadata.a.b", code)]
    assert codes(raw(metadata={"a": {text: 1}})) == [("metadata.a", code)]


def test_an_unknown_camera_instruction_is_refused_with_the_nearest() -> None:
    found = problems(raw(prompt="a [pan lefft] then [tilt left, wobble] then [wobble] and [1]"))
    assert [(p.field, p.code) for p in found] == [("prompt", "camera_unknown")] * 2
    assert "[pan lefft]" in found[0].message
    assert "[pan left]" in found[0].message
    assert "[wobble]" in found[1].message


def test_more_than_three_combined_instructions_are_a_warning() -> None:
    assert parse_request(raw(prompt="[pan left, rise, shake]")).warnings == ()
    [warning] = parse_request(raw(prompt="[pan left, rise, shake, zoom in]")).warnings
    assert (warning.field, warning.code) == ("prompt", "camera_too_many_combined")


def test_the_words_of_an_instruction_in_text_are_a_warning_that_says_the_exact_form() -> None:
    request = parse_request(raw(prompt="a canary [slowly pan left then zoom in, canary 2] [zoom in 2x] [zoom in 3x]"))
    assert [(w.field, w.code) for w in request.warnings] == [("prompt", "camera_ignored")] * 2
    assert request.warnings[0].message.endswith("write exactly [pan left] [zoom in]")
    assert request.warnings[1].message.endswith("write exactly [zoom in]")
    assert "canary" not in str(request.warnings)
    [warning] = parse_request(raw(prompt="a cat [pan left")).warnings
    assert warning.code == "camera_ignored"
    assert "not closed" in warning.message


def test_a_note_in_a_bracket_is_taken_as_it_is() -> None:
    assert parse_request(raw(prompt="a cat [laughs] [sic] [John Smith] in a [red car] [1]")).warnings == ()


def test_the_sentence_of_an_unknown_instruction_says_what_to_write() -> None:
    [problem] = problems(raw(prompt="[pan lft] a [1] note"))
    expected = "[pan lft] is not a camera instruction; did you mean [pan left]? (for text use round brackets)"
    assert (problem.field, problem.code, problem.message) == ("prompt", "camera_unknown", expected)


# --- images ---------------------------------------------------------------------------------------------------------


def test_both_frames_of_different_size_are_a_warning() -> None:
    first, other = as_data_url(picture(640, 480)), as_data_url(picture(480, 640))
    same = as_data_url(picture(640, 480, "PNG"), "image/png")
    [warning] = parse_request(raw(first_frame_image=first, last_frame_image=other)).warnings
    assert (warning.field, warning.code) == ("last_frame_image", "last_frame_cropped")
    assert parse_request(raw(first_frame_image=first, last_frame_image=same)).warnings == ()
    assert parse_request(raw(first_frame_image=first, last_frame_image=URL)).warnings == ()


def test_a_wrong_media_type_is_a_warning() -> None:
    [warning] = parse_request(raw(first_frame_image=as_data_url(picture(), "image/png"))).warnings
    assert (warning.field, warning.code) == ("first_frame_image", "image_media_type")


@pytest.mark.parametrize("name", ["first_frame_image", "last_frame_image"])
def test_both_frames_keep_the_rules_of_a_picture(name: str) -> None:
    request = raw(**{name: as_data_url(picture(100, 900))})
    assert codes(request) == [(name, "image_too_small"), (name, "image_aspect_ratio")]


def test_detaching_replaces_bytes_by_references() -> None:
    first, last = picture(640, 480), picture(640, 480, "PNG")
    request = parse_request(raw(first_frame_image=as_data_url(first), last_frame_image=as_data_url(last)))
    detached, blobs = request.detached()
    assert isinstance(detached.first_frame_image, ImageRef)
    assert isinstance(detached.last_frame_image, ImageRef)
    assert blobs == {detached.first_frame_image.sha256: first, detached.last_frame_image.sha256: last}
    assert detached.detached() == (detached, {})
    assert parse_request(raw()).detached() == (parse_request(raw()), {})


# --- envelope -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tenant", ["a", "0", "Team-1_x", "a" * 64])
def test_tenants(tenant: str) -> None:
    assert parse_request(raw(tenant=tenant)).tenant == tenant


@pytest.mark.parametrize("tenant", ["", "-a", "_a", "a b", "a/b", "..", "a.b", "a:b", "é", "a" * 65, "a\n"])
def test_other_tenants_are_refused(tenant: str) -> None:
    assert codes(raw(tenant=tenant)) == [("tenant", "bad_format")]


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "a" * 201, "a\n"])
def test_idempotency_keys_are_visible_ascii(key: str) -> None:
    assert codes(raw(idempotency_key=key)) == [("idempotency_key", "bad_format")]
    assert parse_request(raw(idempotency_key="!~" * 100)).idempotency_key == "!~" * 100


@pytest.mark.parametrize(("name", "low", "high"), [("priority", -100, 100), ("deadline_s", 1, DEADLINE_MAX_S)])
def test_numbers_of_the_envelope_are_bounded(name: str, low: int, high: int) -> None:
    for value in (low, high):
        assert getattr(parse_request(raw(**{name: value})), name) == value
    for value in (low - 1, high + 1):
        [problem] = problems(raw(**{name: value}))
        assert (problem.field, problem.code) == (name, "out_of_range")
        assert str(value) in problem.message


@pytest.mark.parametrize(
    ("value", "amount"),
    [("0.28", "0.28"), ("10", "10"), (5, "5"), (Decimal("0.5000"), "0.5"), ("0.000001", "0.000001")],
)
def test_an_amount_is_exact_and_written_one_way(value: Any, amount: str) -> None:
    request = parse_request(raw(max_cost_usd=value))
    assert str(request.max_cost_usd) == amount
    assert parse_request(request.to_dict(), stored_inputs=True) == request


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0.28, "not_an_amount"),
        (True, "not_an_amount"),
        ([1], "not_an_amount"),
        ("$1", "not_an_amount"),
        ("1e3", "not_an_amount"),
        ("NaN", "not_an_amount"),
        ("-1", "not_an_amount"),
        ("", "not_an_amount"),
        ("0", "out_of_range"),
        (-1, "out_of_range"),
        ("0.0000001", "out_of_range"),
        (10**40, "out_of_range"),
        (Decimal("Infinity"), "out_of_range"),
    ],
)
def test_what_is_no_amount_is_refused(value: Any, code: str) -> None:
    assert codes(raw(max_cost_usd=value)) == [("max_cost_usd", code)]


def part_of_itself() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["again"] = [loop]
    return loop


def doubling(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value] * 200
    return value


@pytest.mark.parametrize(
    ("metadata", "field", "code"),
    [
        ([], "metadata", "not_an_object"),
        ("x", "metadata", "not_an_object"),
        ({str(n): n for n in range(51)}, "metadata", "metadata_too_many_keys"),
        ({"a": "x" * 8190}, "metadata", "metadata_too_large"),
        ({"a": "猫" * 3000}, "metadata", "metadata_too_large"),
        ({"x" * 9000: 1}, "metadata", "metadata_too_large"),
        ({"a": list(range(9000))}, "metadata", "metadata_too_large"),
        ({"a": doubling(4)}, "metadata", "metadata_too_large"),
        ({"a": {"b": {"c": {"d": {"e": {"f": {}}}}}}}, "metadata.a.b.c.d.e.f", "metadata_too_deep"),
        (part_of_itself(), "metadata.again.0.again.0.again.0", "metadata_too_deep"),
        ({"a": float("nan")}, "metadata.a", "metadata_number"),
        ({"a": [0, float("inf")]}, "metadata.a.1", "metadata_number"),
        ({"a": 2**63}, "metadata.a", "metadata_number"),
        ({"a": -(10**5000)}, "metadata.a", "metadata_number"),
        ({1: 2}, "metadata", "metadata_not_json"),
        ({"a": {None: 2}}, "metadata.a", "metadata_not_json"),
        ({"a": b"x"}, "metadata.a", "metadata_not_json"),
        ({"a": (1, 2)}, "metadata.a", "metadata_not_json"),
        ({"a": {1, 2}}, "metadata.a", "metadata_not_json"),
        ({"a": Decimal(1)}, "metadata.a", "metadata_not_json"),
    ],
)
def test_metadata_is_bounded_json(metadata: Any, field: str, code: str) -> None:
    [problem] = problems(raw(metadata=metadata))
    assert (problem.field, problem.code) == (field, code)


def test_metadata_may_fill_its_bounds() -> None:
    full: dict[str, Any] = {str(n): n for n in range(50)}
    assert parse_request(raw(metadata=full)).metadata == full
    exact = {"a": "x" * (8192 - len('{"a":""}'))}
    assert parse_request(raw(metadata=exact)).metadata == exact


def test_a_request_does_not_change_with_the_metadata_it_was_made_from() -> None:
    mine = {"list": [1]}
    request = parse_request(raw(metadata=mine))
    mine["list"].append(2)
    assert request.metadata == {"list": [1]}


# --- canonical form -------------------------------------------------------------------------------------------------


def test_the_canonical_form_writes_defaults_out_and_leaves_absent_fields_out() -> None:
    assert json.loads(parse_request(raw()).to_json()) == {
        "model": MODEL,
        "first_frame_image": URL,
        "prompt_optimizer": True,
        "duration": 6,
        "resolution": "768P",
        "aigc_watermark": False,
        "tenant": "default",
        "priority": 0,
    }


def test_a_fingerprint_is_the_same_for_the_same_request_however_it_is_given() -> None:
    data = picture(640, 480)
    plain = parse_request(raw(first_frame_image=as_data_url(data), duration=6))
    other = parse_request(raw(first_frame_image=as_data_url(data, "image/png"), resolution="768p", idempotency_key="k"))
    stored = parse_request(json.loads(plain.detached()[0].to_json()), stored_inputs=True)
    assert plain.fingerprint() == other.fingerprint() == stored.fingerprint() == plain.detached()[0].fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"first_frame_image": "https://pictures.example/dog.jpg"},
        {"last_frame_image": URL},
        {"prompt": "a dog"},
        {"prompt": ""},
        {"prompt_optimizer": False},
        {"duration": 10},
        {"resolution": "512P"},
        {"callback_url": "https://hooks.example/"},
        {"aigc_watermark": True},
        {"tenant": "other"},
        {"metadata": {"a": 1}},
        {"priority": 1},
        {"deadline_s": 60},
        {"max_cost_usd": "0.28"},
    ],
)
def test_a_fingerprint_changes_with_what_is_asked_for(change: dict[str, Any]) -> None:
    assert parse_request(raw(**change)).fingerprint() != parse_request(raw()).fingerprint()


def test_a_stored_fingerprint_stays_readable() -> None:
    """Fingerprints outlive a release in Redis: a change of the form would turn repetitions into conflicts."""
    assert parse_request(raw()).fingerprint() == "d46f18f8dcf48c5ee10e8fb6f90f724ca8b1f9254335234dd080cc6e7bad879b"


def test_a_request_cannot_be_changed_and_can_be_a_key() -> None:
    request = parse_request(raw(metadata={"a": 1}))
    with pytest.raises(FrozenInstanceError):
        request.duration = 10  # type: ignore[misc]
    assert len({request, replace(request)}) == 1


# --- secrets --------------------------------------------------------------------------------------------------------


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


# --- properties -----------------------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
anything = st.recursive(scalars, lambda kids: st.lists(kids, max_size=4) | st.dictionaries(st.text(), kids, max_size=4))
names = st.sampled_from(GenerationRequest.__slots__)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00[]"), max_size=60)
finite = (
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
pictures = st.sampled_from(
    [URL, as_data_url(picture(640, 480)), as_data_url(picture(400, 500, "PNG")), as_data_url(picture(640, 480, "WEBP"))]
)  # fmt: skip
fields_of_all: dict[str, st.SearchStrategy[Any]] = {
    "prompt_optimizer": st.booleans(),
    "callback_url": st.just("https://hooks.example/x?y=1"),
    "aigc_watermark": st.booleans(),
    "tenant": st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z"),
    "idempotency_key": st.from_regex(r"\A[!-~]{1,200}\Z"),
    "metadata": st.dictionaries(texts, finite | texts | st.lists(finite, max_size=3), max_size=5),
    "priority": st.integers(-100, 100),
    "deadline_s": st.integers(1, DEADLINE_MAX_S),
    "max_cost_usd": st.decimals("0.000001", 1_000_000, places=6).map(str) | st.integers(1, 1_000_000),
}
sizes = {"duration": st.sampled_from([6, 10]), "resolution": st.sampled_from(["768P", "768p"])}
valid = (
    st.fixed_dictionaries(
        {"model": st.just(MODEL), "first_frame_image": pictures},
        optional={**fields_of_all, **sizes, "prompt": texts, "last_frame_image": pictures},
    )
    | st.fixed_dictionaries(
        {"model": st.just(TEXT_MODEL), "prompt": texts.map("a cat".__add__)},
        optional={**fields_of_all, **sizes, "fast_pretreatment": st.booleans()},
    )
    | st.fixed_dictionaries(
        {"model": st.sampled_from(HAILUO_23[1:]), "first_frame_image": pictures},
        optional={**fields_of_all, **sizes, "prompt": texts, "fast_pretreatment": st.booleans()},
    )
    | st.fixed_dictionaries(
        {"model": st.just(LIVE), "first_frame_image": pictures},
        optional={**fields_of_all, "resolution": st.just("720p"), "prompt": texts},
    )
)


@given(anything | st.dictionaries(names | st.text(), anything, max_size=8), st.booleans())
def test_any_json_is_a_request_or_is_refused(value: Any, stored_inputs: bool) -> None:
    refusals(value, stored_inputs=stored_inputs)


immense = st.builds(
    lambda digits, sign, more: sign * 10**digits + more,
    st.integers(19, 6000),
    st.sampled_from([-1, 1]),
    st.integers(0, 9),
)


@given(st.sampled_from(["duration", "priority", "deadline_s"]), immense)
def test_an_immense_integer_is_refused_in_few_words(name: str, value: int) -> None:
    [problem] = problems(raw(**{name: value}))
    assert problem.field == name
    assert problem.code in {"duration_not_offered", "out_of_range"}
    assert "2^63" in problem.message
    assert len(problem.message) < 100


@given(immense)
def test_an_immense_integer_is_refused_wherever_it_stands(value: int) -> None:
    texts_and_more = [name for name in parse_request(raw()).__slots__ if name not in {"model", "warnings"}]
    for name in texts_and_more:
        found = problems(raw(**{name: value}))
        assert {problem.field for problem in found} == {name}
        assert all(len(problem.message) < 200 for problem in found)
    found = problems({**raw(), value: 1, (value,): 1})
    assert [problem.code for problem in found] == ["unknown_field"] * 2
    assert problems(raw(metadata={"a": value}))[0].code == "metadata_number"


@given(valid, st.dictionaries(names, anything, min_size=1, max_size=3))
def test_a_valid_request_with_any_json_put_in_is_a_request_or_is_refused(request_: Any, change: Any) -> None:
    found = refusals({**request_, **change})
    assert {problem.field.partition(".")[0] for problem in found} <= {*change, "resolution", "duration"}


@given(valid)
def test_a_valid_request_is_read_without_collecting_complaints_to_the_same_end(request_: Any) -> None:
    read, loaded = _DIRECT.load_faultless(request_), _DIRECT.load(request_)
    assert read is not None
    assert (read, read.warnings) == (loaded, loaded.warnings)


@given(valid, st.dictionaries(names | st.text(), anything.filter(lambda value: value is not None), max_size=3))
def test_what_collecting_complaints_would_refuse_is_never_read_without_it(request_: Any, change: Any) -> None:
    changed = {**request_, **change}
    read = _DIRECT.load_faultless(changed)
    try:
        assert _DIRECT.load(changed) == read
    except ValidationError:
        assert read is None


@given(valid)
def test_a_request_comes_back_from_its_canonical_form(request_: Any) -> None:
    request = parse_request(request_)
    assert parse_request(json.loads(request.to_json()), stored_inputs=True) == request
    detached, blobs = request.detached()
    stored = parse_request(json.loads(detached.to_json()), stored_inputs=True)
    assert stored == detached
    assert stored.to_json() == detached.to_json()
    assert stored.fingerprint() == request.fingerprint()
    held = [image for image in (request.first_frame_image, request.last_frame_image) if isinstance(image, ImageBytes)]
    assert set(blobs.values()) == {image.data for image in held}
