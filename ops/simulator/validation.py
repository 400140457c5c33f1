"""Checks a create body as the provider does: one refusal, for the first broken rule.

Owns the provider's rules, restated from its API reference and independent of the rest of the project, so that it can
witness against it. Refuses to fetch: a public URL is checked for its form alone.
"""

from __future__ import annotations

import base64
import binascii
import io
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from PIL import Image, UnidentifiedImageError

PROMPT_MAX_CHARS: Final = 2000
IMAGE_LIMIT_BYTES: Final = 20 * 1024 * 1024
SHORT_SIDE_OVER_PX: Final = 300
DEFAULT_DURATION_S: Final = 6

Table = dict[int, tuple[str, ...]]
"""Resolutions by duration in seconds."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What one model takes. `params` are its own: those of other models are refused, and any others passed over."""

    params: frozenset[str]
    required: str
    table: Table
    default_resolution: str = "768P"
    start_to_end: Table = field(default_factory=dict)
    """The table that holds with a last frame."""

    @property
    def resolutions(self) -> tuple[str, ...]:
        """All that the model knows, smallest first, as its first row has them."""
        return tuple(dict.fromkeys(word for row in self.table.values() for word in row))


_ALWAYS: Final = frozenset({"prompt", "prompt_optimizer", "duration", "resolution", "callback_url", "aigc_watermark"})
_PRETREATED: Final = _ALWAYS | {"fast_pretreatment"}
_HAILUO_23: Final = {6: ("768P", "1080P"), 10: ("768P",)}
MODELS: Final = {
    "minimax_hailuo_02_i2v": Rules(
        params=_ALWAYS | {"first_frame_image", "last_frame_image"},
        required="first_frame_image",
        table={6: ("512P", "768P", "1080P"), 10: ("512P", "768P")},
        start_to_end={6: ("768P", "1080P"), 10: ("768P",)},
    ),
    "minimax_hailuo_23_t2v": Rules(_PRETREATED, "prompt", _HAILUO_23),
    "minimax_hailuo_23_i2v": Rules(_PRETREATED | {"first_frame_image"}, "first_frame_image", _HAILUO_23),
    "minimax_hailuo_23_fast_i2v": Rules(_PRETREATED | {"first_frame_image"}, "first_frame_image", _HAILUO_23),
    "minimax_i2v_01_live": Rules(
        _PRETREATED | {"first_frame_image"}, "first_frame_image", {6: ("720P",)}, default_resolution="720P"
    ),
}
_PARAMS: Final = frozenset[str]().union(*(rules.params for rules in MODELS.values()))


class Refused(Exception):
    """The provider says no: nothing was created. `status` is the HTTP status to answer with."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message, self.status = message, status


@dataclass(frozen=True, slots=True)
class Picture:
    """An input picture: its encoded bytes, or the URL where they are."""

    data: bytes | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Order:
    """A create body that holds all rules, with the provider's defaults filled in. Text-to-video has no `first`."""

    model: str
    first: Picture | None
    last: Picture | None
    prompt: str = field(repr=False)
    duration_s: int
    resolution: str
    callback_url: str | None = field(repr=False)
    watermark: bool


def read_order(body: Any) -> Order:
    """The order in a decoded JSON body. Unknown parameters are passed over. Raises `Refused`."""
    model, rules, params = _params_of(body)
    for name in sorted(_PARAMS - rules.params):
        if params.get(name) is not None:
            raise Refused(f"invalid params: {name} is not supported by {model}")
    if params.get(rules.required) is None:
        raise Refused(f"invalid params: {rules.required} is required")
    first, last = _picture_of(params, "first_frame_image"), _picture_of(params, "last_frame_image")
    prompt = _typed(params, "prompt", str, "")
    if rules.required == "prompt" and not prompt.strip():
        raise Refused("invalid params: prompt must not be empty")
    if len(prompt) > PROMPT_MAX_CHARS:
        raise Refused(f"invalid params: prompt is longer than {PROMPT_MAX_CHARS} characters")
    for switch in ("prompt_optimizer", "fast_pretreatment"):
        _typed(params, switch, bool, None)
    duration_s, resolution = _format_of(params, rules)
    callback_url = _typed(params, "callback_url", str, None)
    if callback_url is not None and not _is_http_url(callback_url):
        raise Refused("invalid params: callback_url must be an http or https URL")
    watermark = _typed(params, "aigc_watermark", bool, False)
    return Order(model, first, last, prompt, duration_s, resolution, callback_url, watermark)


def _params_of(body: Any) -> tuple[str, Rules, dict[str, Any]]:
    if not isinstance(body, dict):
        raise Refused("invalid params: the body must be a JSON object")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Refused("invalid params: model is required")
    rules = MODELS.get(model)
    if rules is None:
        raise Refused("model not found", status=404)
    inputs = body.get("input")
    first_input = inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else None
    params = first_input.get("params") if isinstance(first_input, dict) else None
    if not isinstance(params, dict):
        raise Refused("invalid params: input must be a list with one object that holds params")
    return model, rules, params


def _format_of(params: dict[str, Any], rules: Rules) -> tuple[int, str]:
    duration_s = _typed(params, "duration", int, DEFAULT_DURATION_S)
    if duration_s not in rules.table:
        raise Refused(f"invalid params: duration must be {' or '.join(map(str, rules.table))}")
    resolution = _typed(params, "resolution", str, rules.default_resolution)
    if resolution not in rules.resolutions:
        raise Refused(f"invalid params: resolution must be one of {', '.join(rules.resolutions)}")
    kind, table = "image-to-video", rules.table
    if params.get("last_frame_image") is not None:
        kind, table = "start-end frame generation", rules.start_to_end
    elif params.get("first_frame_image") is None:
        kind = "text-to-video"
    if resolution not in table[duration_s]:
        raise Refused(f"invalid params: {kind} of {duration_s} s does not support {resolution}")
    return duration_s, resolution


def _picture_of(params: dict[str, Any], name: str) -> Picture | None:
    value = params.get(name)
    return None if value is None else read_picture(name, value)


def _typed(params: dict[str, Any], name: str, kind: type, default: Any) -> Any:
    value = params.get(name)
    if value is None:
        return default
    # bool is an int to Python, not to JSON.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        word = {str: "a string", bool: "a boolean", int: "an integer"}[kind]
        raise Refused(f"invalid params: {name} must be {word}")
    return value


def _is_http_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def read_picture(name: str, value: Any) -> Picture:
    """The picture in a parameter: a data URL, decoded and checked, or an http(s) URL. Raises `Refused`."""
    if not isinstance(value, str):
        raise Refused(f"invalid params: {name} must be a string")
    if _is_http_url(value):
        return Picture(url=value)
    head, comma, encoded = value.partition(",")
    if not comma or not head.lower().startswith("data:image/") or not head.lower().endswith(";base64"):
        raise Refused(f"invalid params: {name} must be a public URL or a base64 data URL of an image")
    if len(encoded) // 4 * 3 - 2 >= IMAGE_LIMIT_BYTES:
        raise Refused(f"invalid params: {name} must be smaller than 20MB")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(f"invalid params: {name} is not valid base64") from None
    check_picture(name, data)
    return Picture(data=data)


def check_picture(name: str, data: bytes) -> None:
    """Checks size, format and dimensions of encoded bytes from their header. Raises `Refused`."""
    if len(data) >= IMAGE_LIMIT_BYTES:
        raise Refused(f"invalid params: {name} must be smaller than 20MB")
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG", "PNG", "WEBP"]) as picture:
            width, height = picture.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        raise Refused(f"invalid params: {name} must be a JPG, JPEG, PNG or WebP picture") from None
    if min(width, height) <= SHORT_SIDE_OVER_PX:
        raise Refused(f"invalid params: {name} must have a short side greater than {SHORT_SIDE_OVER_PX}px")
    if max(width, height) * 2 > min(width, height) * 5:
        raise Refused(f"invalid params: {name} must have an aspect ratio between 2:5 and 5:2")
