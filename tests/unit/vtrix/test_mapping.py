"""The body of a create."""

import pytest

from schemas.requests import GenerationRequest, parse_request
from tasks.vtrix.mapping import create_body, with_callback

OURS = "https://ours.example/c"


def test_body_names_model_outside_and_everything_else_in_params():
    request = GenerationRequest(
        model="minimax_hailuo_02_i2v",
        prompt="[pan left] a street",
        prompt_optimizer=False,
        duration=10,
        resolution="512P",
        callback_url="https://producer.example/own",
        aigc_watermark=True,
    )
    body = create_body(request, first_frame="data:a", last_frame="data:b")
    assert with_callback(body, OURS) == {
        "model": "minimax_hailuo_02_i2v",
        "input": [
            {
                "params": {
                    "first_frame_image": "data:a",
                    "last_frame_image": "data:b",
                    "prompt": "[pan left] a street",
                    "prompt_optimizer": False,
                    "duration": 10,
                    "resolution": "512P",
                    "callback_url": OURS,
                    "aigc_watermark": True,
                }
            }
        ],
    }


def test_defaults_are_sent_and_what_is_not_set_is_left_out():
    request = GenerationRequest(model="minimax_hailuo_02_i2v")
    params = create_body(request, first_frame="data:a")["input"][0]["params"]
    assert params == {
        "first_frame_image": "data:a",
        "prompt_optimizer": True,
        "duration": 6,
        "resolution": "768P",
        "aigc_watermark": False,
    }


FROM_A_PICTURE = ["minimax_hailuo_23_i2v", "minimax_hailuo_23_fast_i2v", "minimax_i2v_01_live"]


def sent(model, **fields):
    """The parameters of a create, of a request as a producer gives it."""
    request = parse_request({"model": model, **fields})
    picture = None if request.first_frame_image is None else "data:a"
    body = with_callback(create_body(request, first_frame=picture), OURS)
    assert body["model"] == model
    return body["input"][0]["params"]


def test_a_text_is_sent_without_a_frame():
    assert sent("minimax_hailuo_23_t2v", prompt="a cat") == {
        "prompt": "a cat",
        "prompt_optimizer": True,
        "duration": 6,
        "resolution": "768P",
        "callback_url": OURS,
        "aigc_watermark": False,
    }


@pytest.mark.parametrize("model", FROM_A_PICTURE)
def test_a_picture_alone_is_sent_with_the_models_own_defaults(model):
    assert sent(model, first_frame_image="https://pictures.example/a.jpg") == {
        "first_frame_image": "data:a",
        "prompt_optimizer": True,
        "duration": 6,
        "resolution": "720P" if model == "minimax_i2v_01_live" else "768P",
        "callback_url": OURS,
        "aigc_watermark": False,
    }


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("model", FROM_A_PICTURE)
def test_pretreatment_is_sent_as_it_was_given(model, given):
    params = sent(model, first_frame_image="https://pictures.example/a.jpg", fast_pretreatment=given)
    assert params["fast_pretreatment"] is given


def test_what_a_model_does_not_know_is_never_sent():
    text = GenerationRequest(model="minimax_hailuo_23_t2v", prompt="a cat")
    params = create_body(text, first_frame="data:a", last_frame="data:b")["input"][0]["params"]
    assert params.keys().isdisjoint({"first_frame_image", "last_frame_image"})
    live = GenerationRequest(model="minimax_i2v_01_live", resolution="720P")
    assert "last_frame_image" not in create_body(live, first_frame="data:a", last_frame="data:b")["input"][0]["params"]
    older = GenerationRequest(model="minimax_hailuo_02_i2v", fast_pretreatment=True)
    assert "fast_pretreatment" not in create_body(older, first_frame="data:a")["input"][0]["params"]
