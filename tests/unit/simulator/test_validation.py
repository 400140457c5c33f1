"""The provider's rules as the simulator restates them, row by row."""

from __future__ import annotations

import base64
import io
import itertools

import pytest
from PIL import Image

from ops.simulator.validation import IMAGE_LIMIT_BYTES, MODELS, Refused, check_picture, read_order


def picture(width: int = 400, height: int = 400, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(out, kind)
    return out.getvalue()


def data_url(data: bytes, media: str = "image/png") -> str:
    return f"data:{media};base64,{base64.b64encode(data).decode()}"


FIRST = data_url(picture())


def body(**params: object) -> dict[str, object]:
    return {"model": "minimax_hailuo_02_i2v", "input": [{"params": {"first_frame_image": FIRST, **params}}]}


def test_defaults_are_filled_in() -> None:
    order = read_order(body())
    assert (order.duration_s, order.resolution, order.prompt, order.last) == (6, "768P", "", None)
    assert order.watermark is False


IMAGE_TO_VIDEO = {(6, "512P"), (6, "768P"), (6, "1080P"), (10, "512P"), (10, "768P")}
START_TO_END = {(6, "768P"), (6, "1080P"), (10, "768P")}


@pytest.mark.parametrize(("duration", "resolution"), list(itertools.product((6, 10), ("512P", "768P", "1080P"))))
@pytest.mark.parametrize("with_last", [False, True])
def test_each_pair_of_duration_and_resolution_is_judged_by_its_table(
    duration: int, resolution: str, with_last: bool
) -> None:
    params: dict[str, object] = {"duration": duration, "resolution": resolution}
    if with_last:
        params["last_frame_image"] = FIRST
    if (duration, resolution) in (START_TO_END if with_last else IMAGE_TO_VIDEO):
        order = read_order(body(**params))
        assert (order.duration_s, order.resolution) == (duration, resolution)
    else:
        with pytest.raises(Refused, match="does not support"):
            read_order(body(**params))


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"first_frame_image": None}, "first_frame_image is required"),
        ({"first_frame_image": 7}, "must be a string"),
        ({"first_frame_image": "ftp://example.com/a.png"}, "public URL or a base64"),
        ({"first_frame_image": "data:image/png;base64,@@@"}, "not valid base64"),
        ({"first_frame_image": data_url(b"no picture")}, "JPG, JPEG, PNG or WebP"),
        ({"first_frame_image": data_url(picture(kind="GIF"))}, "JPG, JPEG, PNG or WebP"),
        ({"last_frame_image": data_url(picture(300, 500))}, "last_frame_image must have a short side"),
        ({"duration": 7}, "duration must be 6 or 10"),
        ({"duration": "6"}, "duration must be an integer"),
        ({"duration": True}, "duration must be an integer"),
        ({"resolution": "720P"}, "resolution must be one of"),
        ({"prompt": "x" * 2001}, "longer than 2000"),
        ({"prompt": ["x"]}, "prompt must be a string"),
        ({"prompt_optimizer": "yes"}, "prompt_optimizer must be a boolean"),
        ({"aigc_watermark": 1}, "aigc_watermark must be a boolean"),
        ({"callback_url": "mailto:a@example.com"}, "callback_url must be"),
    ],
)
def test_a_parameter_against_the_rules_is_refused_by_name(params: dict[str, object], word: str) -> None:
    with pytest.raises(Refused, match=word) as refused:
        read_order(body(**params))
    assert refused.value.status == 400


TEXT = "minimax_hailuo_23_t2v"
LIVE = "minimax_i2v_01_live"
HAILUO_23 = (TEXT, "minimax_hailuo_23_i2v", "minimax_hailuo_23_fast_i2v")


def of(model: str, **params: object) -> dict[str, object]:
    """A body with all that the model requires, unless it is given as `None`."""
    needed = {"prompt": "a cat"} if model == TEXT else {"first_frame_image": FIRST}
    return {"model": model, "input": [{"params": {**needed, **params}}]}


@pytest.mark.parametrize("model", MODELS)
def test_what_a_model_requires_is_enough(model: str) -> None:
    order = read_order(of(model))
    assert (order.model, order.duration_s, order.resolution) == (model, 6, "720P" if model == LIVE else "768P")
    assert (order.first is None, order.last) == (model == TEXT, None)


@pytest.mark.parametrize("model", HAILUO_23)
def test_a_later_model_makes_ten_seconds_in_its_lower_resolution_alone(model: str) -> None:
    assert read_order(of(model, duration=10)).duration_s == 10
    assert read_order(of(model, resolution="1080P")).resolution == "1080P"
    with pytest.raises(Refused, match=f"{'text' if model == TEXT else 'image'}-to-video of 10 s does not support"):
        read_order(of(model, duration=10, resolution="1080P"))


@pytest.mark.parametrize(
    ("model", "params", "word"),
    [
        (TEXT, {"prompt": None}, "prompt is required"),
        (TEXT, {"prompt": " "}, "prompt must not be empty"),
        (TEXT, {"first_frame_image": FIRST}, "first_frame_image is not supported"),
        *((model, {"last_frame_image": FIRST}, "last_frame_image is not supported") for model in (*HAILUO_23, LIVE)),
        *((model, {"first_frame_image": None}, "first_frame_image is required") for model in (*HAILUO_23[1:], LIVE)),
        *((model, {"fast_pretreatment": 1}, "fast_pretreatment must be a boolean") for model in (*HAILUO_23, LIVE)),
        *((model, {"prompt": "x" * 2001}, "longer than 2000") for model in (*HAILUO_23, LIVE)),
        *((model, {"resolution": "512P"}, "must be one of 768P, 1080P") for model in HAILUO_23),
        (LIVE, {"resolution": "768P"}, "must be one of 720P"),
        (LIVE, {"duration": 10}, "duration must be 6"),
        ("minimax_hailuo_02_i2v", {"fast_pretreatment": True}, "fast_pretreatment is not supported"),
    ],
)
def test_a_parameter_against_a_models_own_rules_is_refused(model: str, params: dict[str, object], word: str) -> None:
    with pytest.raises(Refused, match=word):
        read_order(of(model, **params))


@pytest.mark.parametrize(
    "broken",
    [[], {}, {"model": "minimax_hailuo_02_i2v"}, {"model": "minimax_hailuo_02_i2v", "input": [{}]}, {"model": 3}],
)
def test_a_body_of_another_shape_is_refused(broken: object) -> None:
    with pytest.raises(Refused):
        read_order(broken)


def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(Refused) as refused:
        read_order({**body(), "model": "other"})
    assert refused.value.status == 404


def test_a_prompt_of_2000_characters_and_an_unknown_parameter_pass() -> None:
    assert len(read_order(body(prompt="é" * 2000, colour="red")).prompt) == 2000


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_each_format_passes_whatever_its_media_type_says(kind: str) -> None:
    read_order(body(first_frame_image=data_url(picture(kind=kind), "image/jpeg")))


@pytest.mark.parametrize(
    ("width", "height", "ok"),
    [
        (301, 301, True),
        (300, 301, False),
        (800, 320, True),
        (320, 800, True),
        (801, 320, False),
        (320, 801, False),
    ],
)
def test_dimensions_are_judged_at_their_bounds(width: int, height: int, ok: bool) -> None:
    if ok:
        check_picture("first_frame_image", picture(width, height))
    else:
        with pytest.raises(Refused):
            check_picture("first_frame_image", picture(width, height))


def test_a_picture_of_20_mb_is_too_large_and_one_byte_less_is_not() -> None:
    small = picture()
    check_picture("first_frame_image", small + bytes(IMAGE_LIMIT_BYTES - len(small) - 1))
    with pytest.raises(Refused, match="smaller than 20MB"):
        check_picture("first_frame_image", small + bytes(IMAGE_LIMIT_BYTES - len(small)))


def test_an_order_never_shows_its_prompt_or_pictures() -> None:
    shown = repr(read_order(body(prompt="a secret walk", callback_url="https://example.com/hook?token=t0ken")))
    assert "secret" not in shown
    assert "t0ken" not in shown
    assert "PNG" not in shown
