"""What must hold for any request, whatever its JSON: it is refused in bounded words, or keeps every rule.

Owns the rules of the provider's specification stated a second time. Refuses to use the product's tables.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import socket
import warnings
from fractions import Fraction
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from PIL import Image as Pillow

from schemas import requests
from schemas.errors import Problem, RequestInvalid
from tasks.outward import PUBLIC
from tests.fuzz.broken import Broken, require
from tests.fuzz.images import CANARY
from tests.fuzz.requests import INSTRUCTIONS, MODEL, OFFERS, START_END, TEXT_MODEL, RequestCase

FIELDS = {"model", "first_frame_image", "last_frame_image", "prompt", "prompt_optimizer", "duration", "resolution"}
FIELDS |= {"callback_url", "aigc_watermark", "tenant", "idempotency_key", "metadata", "priority", "deadline_s"}
FIELDS |= {"max_cost_usd", "fast_pretreatment"}

CODES = {
    *("required", "model_unknown", "unknown_field", "not_an_object", "not_a_string", "not_a_boolean", "not_an_integer"),
    *("out_of_range", "not_an_amount", "bad_format", "text_nul", "text_surrogate", "duration_not_offered"),
    *("resolution_unknown", "field_not_of_model"),
    *("resolution_not_offered", "prompt_too_long", "camera_unknown", "camera_ignored", "camera_too_many_combined"),
    *("url_too_long", "url_malformed", "url_scheme", "url_no_host", "url_userinfo", "url_host", "url_not_public"),
    *("image_form", "image_ref", "image_data_url", "image_base64", "image_too_large", "image_too_many_pixels"),
    *("image_too_small", "image_aspect_ratio", "image_format", "image_truncated", "image_unreadable"),
    *("image_media_type", "last_frame_cropped", "metadata_not_json", "metadata_number"),
    *("metadata_too_deep", "metadata_too_large", "metadata_too_many_keys", "too_many_problems"),
}
"""Every code that a producer can have been told to expect; a new one is a change of the contract."""

MESSAGE_MAX_CHARS = 400
FIELD_MAX_CHARS = 100
PROBLEMS_MAX = 60
DETAIL_MAX_CHARS = 16_000
"""All problems of a request as one text: it is stored with what was put aside, and shown to who waits."""


def check_request(case: RequestCase) -> list[str]:
    """What became of a request as the stream brings it. Raises `Broken` when a rule does not hold."""
    try:
        raw = json.loads(case.body)
    except (ValueError, RecursionError):
        return ["request unreadable"]
    try:
        request = requests.parse_request(raw, stored_inputs=True)
    except RequestInvalid as error:
        require(not case.valid, "stuck", "a valid request is taken")
        _check_problems(error.problems, raw)
        require(len(error.problems) > 0 and len(str(error)) <= DETAIL_MAX_CHARS, "unstorable", "a refusal is bounded")
        require(error.__context__ is None and error.__cause__ is None, "leak", "no values travel along with a refusal")
        return ["request refused", *{f"code {problem.code}" for problem in error.problems}]
    _check_rules(raw, request)
    _check_problems(request.warnings, raw)
    _check_from_a_producer(raw, request)
    _check_forms(request)
    return ["request accepted", *{f"code {problem.code}" for problem in request.warnings}]


# --- refusals -------------------------------------------------------------------------------------------------------


def _check_problems(problems: tuple[Problem, ...], raw: Any) -> None:
    require(len(problems) <= PROBLEMS_MAX, "unstorable", "problems are bounded in number")
    for problem in problems:
        require(problem.code in CODES, "wrong_outcome", "a code is stable")
        require(0 < len(problem.message) <= MESSAGE_MAX_CHARS, "unstorable", "a message is bounded")
        require(len(problem.field) <= FIELD_MAX_CHARS, "unstorable", "a field's path is bounded")
        text = f"{problem.field}: {problem.message}"
        require("\x00" not in text and text.isprintable(), "unstorable", "a message is printable")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Broken("unstorable", "a message can be written") from error
        require(CANARY not in text or _bracketed(raw), "leak", "no message shows a prompt, a URL's path or metadata")
        require(not any(piece in text for piece in _payload(raw)), "leak", "no message shows a picture")


def _bracketed(raw: Any) -> bool:
    """Whether the canary of the prompt stands in a bracket, which may be quoted."""
    prompt = raw.get("prompt") if isinstance(raw, dict) else None
    return isinstance(prompt, str) and any(CANARY in inside for inside in re.findall(r"\[([^\[\]]*)\]?", prompt))


def _payload(raw: Any) -> list[str]:
    if not isinstance(raw, dict):
        return []
    texts = [raw.get(name) for name in ("first_frame_image", "last_frame_image")]
    return [text[60:76] for text in texts if isinstance(text, str) and len(text) > 100 and "base64" in text[:60]]


# --- rules ----------------------------------------------------------------------------------------------------------


def _check_rules(raw: Any, request: requests.GenerationRequest) -> None:
    require(isinstance(raw, dict), "wrong_outcome", "a request is an object")
    given = {name: value for name, value in raw.items() if value is not None}
    model = given.get("model")
    require(model in OFFERS and model == request.model, "wrong_outcome", "an accepted request names its model")
    rules = {
        "no other fields": {name for name in raw if name not in FIELDS} == set(),
        "no other model's fields": given.keys().isdisjoint(_not_of(model)),
        "a first frame is given": model == TEXT_MODEL or _is_image(given.get("first_frame_image")),
        "a text is given": model != TEXT_MODEL or bool(str(given.get("prompt", "")).strip()),
        "a last frame is a picture": "last_frame_image" not in given or _is_image(given["last_frame_image"]),
        "the prompt is text of 2000 characters at most": _is_prompt(given.get("prompt", "")),
        "switches are booleans": all(
            type(given.get(name, False)) is bool for name in ("prompt_optimizer", "fast_pretreatment", "aigc_watermark")
        ),
        "duration and resolution are offered": _is_offered(given) and request.duration == given.get("duration", 6),
        "the resolution is kept": request.resolution == given.get("resolution", _default_resolution(model)).upper(),
        "the callback is public, or no door takes it": "callback_url" not in given
        or _is_public(given["callback_url"])
        or PUBLIC.refusal(given["callback_url"]) is not None,
        "the tenant is a name": re.fullmatch(r"[A-Za-z0-9][\w-]{0,63}", given.get("tenant", "x"), re.ASCII) is not None,
        "the key is visible": re.fullmatch(r"[\x21-\x7e]{1,200}", given.get("idempotency_key", "x")) is not None,
        "the priority is a number": _is_int(given.get("priority", 0), -100, 100),
        "the deadline is a number": _is_int(given.get("deadline_s", 1), 1, 604_800),
        "the most it may cost is an amount": _is_amount(given.get("max_cost_usd", "1")),
        "metadata is bounded": _is_metadata(given.get("metadata", {})),
    }
    for rule, holds in rules.items():
        require(holds, "wrong_outcome", f"an accepted request keeps the rules: {rule}")


def _is_amount(value: Any) -> bool:
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value, re.ASCII):
        return False
    if type(value) not in (int, str):
        return False
    amount = Fraction(value)
    return 0 < amount <= 1_000_000 and (amount * 1_000_000).denominator == 1


def _is_int(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _not_of(model: str) -> set[str]:
    if model == MODEL:
        return {"fast_pretreatment"}
    return {"last_frame_image", "first_frame_image"} if model == TEXT_MODEL else {"last_frame_image"}


def _default_resolution(model: str) -> str:
    return "720P" if model == "minimax_i2v_01_live" else "768P"


def _is_offered(given: dict[str, Any]) -> bool:
    duration, resolution = given.get("duration", 6), given.get("resolution", _default_resolution(given["model"]))
    if type(duration) is not int or not isinstance(resolution, str):
        return False
    table = START_END if "last_frame_image" in given else OFFERS[given["model"]]
    return resolution.upper() in table.get(duration, ())


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\x00" not in value and not re.search("[\ud800-\udfff]", value)


def _is_prompt(value: Any) -> bool:
    if not _is_text(value) or len(value) > 2_000:
        return False
    for inside in re.findall(r"\[([^\[\]]*)\]", value):
        parts = {" ".join(part.split()).lower() for part in inside.split(",")} - {""}
        if parts & set(INSTRUCTIONS) and not parts <= set(INSTRUCTIONS):
            return False
    return True


def _is_metadata(value: Any) -> bool:
    if not isinstance(value, dict) or len(value) > 50 or len(json.dumps(value, separators=(",", ":"))) > 6 * 8_192:
        return False
    return _depth(value) <= 6 and _is_text(json.dumps(value, ensure_ascii=False)) and "\\u0000" not in json.dumps(value)


def _depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)


def _is_image(value: Any) -> bool:
    if not _is_text(value):
        return False
    if value[:5].lower() == "data:":
        return _is_picture(base64.b64decode(value.partition(",")[2], validate=True))
    if value.startswith("input:"):
        size = re.fullmatch(r"input:[0-9a-f]{64}\.(?:jpg|png|webp):([0-9]+)x([0-9]+)", value, re.ASCII)
        return size is not None and _is_shape(int(size[1]), int(size[2]))
    return _is_public(value)


def _is_picture(data: bytes) -> bool:
    if len(data) >= 20_000_000 or not data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Pillow.open(BytesIO(data)) as opened:
                width, height = opened.size
                turned = opened.format == "JPEG" and opened.getexif().get(0x0112) in {5, 6, 7, 8}
    except Exception:  # noqa: BLE001 (a header that another reader does not take: nothing to compare with)
        return True
    return _is_shape(height, width) if turned else _is_shape(width, height)


def _is_shape(width: int, height: int) -> bool:
    return min(width, height) > 300 and width * height <= 100_000_000 and 0.4 <= width / height <= 2.5


def _is_public(url: Any) -> bool:
    """Whether no reader of the URL can take its host for one that is not public."""
    if not _is_text(url) or len(url) > 2_048 or re.search(r"[\x00-\x20\x7f\\]", url):
        return False
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in {"http", "https"} or "@" in parts.netloc or not host.isascii():
        return False
    if ":" in host:
        return all(_is_global(address) for address in _meant(ipaddress.IPv6Address(host.partition("%")[0])))
    try:
        return _is_global(ipaddress.IPv4Address(socket.inet_aton(host)))
    except OSError:  # no spelling of an address that any resolver would take
        return "." in host and not re.search(r"(^|\.)(localhost|local|internal|localdomain|home\.arpa)$", host)


def _meant(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The address and the IPv4 addresses that a gateway would reach through it."""
    low = int(address) & 0xFFFF_FFFF
    through: list[Any] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if int(address) >> 32 in {0x0064_FF9B << 64, 0}:
        through.append(ipaddress.IPv4Address(low))
    return [each for each in through if each is not None] or [address]


def _is_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_global and not address.is_multicast


# --- forms ----------------------------------------------------------------------------------------------------------


def _check_from_a_producer(raw: Any, request: requests.GenerationRequest) -> None:
    """A producer may say the same as the stream, but for references, which are made of what it gave."""
    referred = any(str(raw.get(name)).startswith("input:") for name in ("first_frame_image", "last_frame_image"))
    try:
        direct = requests.parse_request(raw)
    except RequestInvalid as error:
        require(referred and {p.code for p in error.problems} == {"image_form"}, "wrong_outcome", "doors agree")
    else:
        require(not referred and direct == request, "wrong_outcome", "a producer can't name what is stored")


def _check_forms(request: requests.GenerationRequest) -> None:
    stored, blobs = request.detached()
    text = json.dumps(stored.to_dict(), allow_nan=False, ensure_ascii=False)
    require(_is_text(text) and "\\u0000" not in text, "unstorable", "a stored request is text that databases take")
    for form in (request.to_dict(), json.loads(request.to_json()), json.loads(text)):
        again = requests.parse_request(form, stored_inputs=True)
        require(again.fingerprint() == request.fingerprint(), "unstorable", "every form has the same fingerprint")
    require(
        requests.parse_request(request.to_dict(), stored_inputs=True) == request, "unstorable", "a form is read back"
    )
    require(
        requests.parse_request(json.loads(text), stored_inputs=True) == stored, "unstorable", "so is the stored one"
    )
    require(all(len(digest) == 64 for digest in blobs), "unstorable", "pictures are known by their digest")
    price = request.estimate_usd()
    require(price.is_finite() and 0 < price < 1, "wrong_charge", "what is accepted has a price")
