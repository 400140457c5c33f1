"""The body of a create."""

from schemas.requests import GenerationRequest
from tasks.vtrix.mapping import create_body


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
    body = create_body(request, first_frame="data:a", last_frame="data:b", callback_url="https://ours.example/c")
    assert body == {
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
                    "callback_url": "https://ours.example/c",
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
