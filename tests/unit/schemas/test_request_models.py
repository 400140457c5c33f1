"""What each model takes, requires and offers of a request, and what that costs."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from schemas import models
from schemas.requests import parse_request
from tests.support.requests import HAILUO_23, LIVE, MODEL, TEXT_MODEL, URL, raw

from .refusals import codes, problems

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


FROM_A_PICTURE = ["minimax_hailuo_23_i2v", "minimax_hailuo_23_fast_i2v", "minimax_i2v_01_live"]
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
        f"this field is not taken by {TEXT_MODEL}; leave it out",
        f"a prompt with words in it is required by {TEXT_MODEL}",
    ]
    [problem] = problems(raw(model=LIVE, last_frame_image=URL))
    assert problem.message == f"this field is not taken by {LIVE}; leave it out"


@pytest.mark.parametrize("model", LATER)
def test_pretreatment_is_written_out_only_where_it_was_given(model: str) -> None:
    plain, given = parse_request(raw(model=model)), parse_request(raw(model=model, fast_pretreatment=False))
    assert "fast_pretreatment" not in plain.to_dict()
    assert given.to_dict()["fast_pretreatment"] is False
    assert plain.fingerprint() != given.fingerprint()
