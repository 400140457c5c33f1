"""The provider's JSON, read with tolerance: any bytes become a `TaskAnswer` or `None`. Refuses to raise, and to decide.

Fields that are missing or have another shape than expected read as absent. Money never passes through a float.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from marshmallow import EXCLUDE, Schema, ValidationError, fields, missing, post_load

from tasks.domain.answers import RemoteOutput, Usage
from tasks.vtrix.errors import UNKNOWN_CODE, normalise
from tasks.vtrix.redact import beginning, one_line

MAX_COST_USD: Final = Decimal(1_000_000)
"""A cost above this is no cost of a generation, so it is unreadable."""

_MAX_DIGITS: Final = 40
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
_TWO_IDS: Final = ("two", "ids")
"""Stands in the place of an id that an answer gives twice; like any list, it reads as something that can be no id."""
_ID: Final = re.compile(r"(?!\.{1,2}\Z)[\x21-\x7e]{1,200}")
_ID_IN_TEXT: Final = re.compile(rb"""["']id["']\s*:\s*(?:"[^"]|'[^']|[1-9])""")
_MAX_DURATION_S: Final = 86_400
_PLAIN: Final = json.JSONDecoder(parse_float=Decimal, parse_constant=Decimal)


@dataclass(frozen=True, slots=True)
class WireError:
    """An error as the provider gave it: its code in the table's spelling, its sentence unredacted (so never shown)."""

    code: str
    message: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TaskAnswer:
    """What an answer of either endpoint says.

    `task_id` is `None` when there is none, and `id_unreadable` tells that there is something else in its place.
    `status` is the status word in lower case. `http_code` is the HTTP-like code of an enveloped answer.
    `bare_error` is a code or message outside of any `error`, or in an envelope without such a code: an error only where
    something else says so.
    """

    task_id: str | None = None
    id_unreadable: bool = False
    status: str | None = None
    http_code: int | None = None
    progress: float | None = None
    outputs: tuple[RemoteOutput, ...] = ()
    usage: Usage = field(default_factory=Usage)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    error: WireError | None = None
    bare_error: WireError | None = None


def read_answer(body: bytes) -> TaskAnswer | None:
    """What the bytes of an answer say; `None` when they are no JSON object. Never raises."""
    data = _load(body)
    if not isinstance(data, dict):
        return None
    inner = data.get("data")
    flat = {**data, **inner} if isinstance(inner, dict) and not data.get("id") else dict(data)
    flat["envelope"] = data.get("status")
    flat["bare_error"] = _bare_error(flat)
    try:
        answer: TaskAnswer = _ANSWER.load(flat)
    except ValidationError:  # the fields below refuse nothing; should marshmallow ever, the answer is unreadable
        return None
    return answer


def progress_of(body: bytes, task_id: str, words: Collection[str]) -> tuple[float | None] | None:
    """The progress of a task that is at work, alone in a tuple, out of an answer that says no more than that.

    Most answers are of this kind, and to read one by the schema takes ten times as long. `None` for any other, which
    is then to be read by `read_answer`: it would find here this task's id, its `status`, one of `words`, and the same
    progress. Never raises.
    """
    # A name that comes twice, or is spelled with escapes, is the schema's affair; so are encodings other than UTF-8.
    if body[:2] != b'{"' or b"\\" in body or body.count(b'"id"') != 1 or body.count(b'"status"') != 1:
        return None
    try:
        data = _PLAIN.decode(body.decode())
    except (ValueError, ArithmeticError, RecursionError):
        return None
    status = data.get("status")
    if data.get("id") != task_id or not isinstance(status, str) or status not in words or not _ID.fullmatch(task_id):
        return None
    return (_progress(data.get("progress")),)


def may_hold_id(body: bytes) -> bool:
    """Whether bytes that are no JSON object, because they were cut off perhaps, look as if they named a task."""
    return _ID_IN_TEXT.search(body) is not None


def money(value: object) -> Decimal | None:
    """An amount of USD out of a string or a number: finite, from 0 to `MAX_COST_USD`, at most 40 digits; else `None`.

    `""`, booleans, NaN, infinities and negative amounts are no amounts. Nothing is rounded.
    """
    number = _decimal(value)
    if number is None or number < 0 or number > MAX_COST_USD:
        return None
    if number == 0:
        return Decimal(0)
    _, digits, exponent = number.as_tuple()
    if len(digits) > _MAX_DIGITS or not isinstance(exponent, int) or exponent < -_MAX_DIGITS:
        return None
    return Decimal(f"{number:f}")


def plain(value: object, _depth: int = 0) -> Any:
    """A bounded copy that any JSON encoder and any database takes.

    Numbers with a fraction become their digits as text, so that an amount stays exact. Characters that databases refuse
    are dropped. Texts are cut at 1000 characters, lists and objects at 100 members and 6 levels.
    """
    match value:
        case None | bool():
            return value
        case int() if abs(value) < 2**63:
            return value
        case int() | Decimal():
            return str(value)[:100]
        case str():
            return one_line(value[:1000])
        case list() if _depth < 6:
            return [plain(item, _depth + 1) for item in value[:100]]
        case dict() if _depth < 6:
            return {one_line(str(key)[:100]): plain(item, _depth + 1) for key, item in list(value.items())[:100]}
        case _:
            return None


def _load(body: bytes) -> Any:
    try:
        return json.loads(
            body,
            parse_float=_json_number,
            parse_int=_json_number,
            parse_constant=Decimal,
            object_pairs_hook=_members_of,
        )
    except (ValueError, RecursionError):
        return None


def _members_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of these pairs. Of a name that comes twice the last counts, but two ids that differ are none."""
    members = dict(pairs)
    if len(members) < len(pairs):
        told = [(members[name], value) for name, value in pairs if name in {"id", "data"}]
        if any(last is not value and last != value for last, value in told):  # NaN differs from itself
            members["id"] = _TWO_IDS
    return members


def _json_number(text: str) -> int | Decimal:
    if len(text) <= 30 and text.lstrip("-").isdigit():
        return int(text)
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond what Decimal holds
        return Decimal("NaN")


def _decimal(value: object) -> Decimal | None:
    match value:
        case bool():
            return None
        case int():
            return Decimal(value)
        case Decimal():
            return value if value.is_finite() else None
        case str() if len(value) <= 2 * _MAX_DIGITS and _NUMBER.fullmatch(value.strip()):
            return Decimal(value.strip())
        case _:
            return None


def _text(value: object) -> str | None:
    text = beginning(value, 8000) if isinstance(value, str) else ""
    return text or None


def _id(value: object) -> str | None:
    """The id, `None` when there is none, `""` when something stands there that can be no id: zero, for one."""
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if 0 < value < 10**30 else ""
    return value if isinstance(value, str) and _ID.fullmatch(value) else ""


def _status(value: object) -> str | None:
    return one_line(value[:100]).lower() or None if isinstance(value, str) else None


def _progress(value: object) -> float | None:
    number = _decimal(value)
    return None if number is None else float(min(max(number, Decimal(0)), Decimal(1)))


def _duration_s(value: object) -> float | None:
    number = _decimal(value)
    return float(number) if number is not None and 0 <= number <= _MAX_DURATION_S else None


def _members(value: object) -> list[dict[str, Any]]:
    """The objects in a list of objects, or the one object that stands where a list should."""
    members = value if isinstance(value, list) else [value]
    return [member for member in members if isinstance(member, dict)]


def _outputs(value: object) -> tuple[RemoteOutput, ...]:
    """All contents with a URL of all outputs, whatever their type."""
    found = []
    for output in _members(value):
        for content in _members(output.get("content", output)):
            url = content.get("url")
            if isinstance(url, str) and one_line(url) == url != "":
                # `video` and `video/mp4` are the same kind.
                kind = re.sub(r"[^a-z0-9_-]", "", str(content.get("type") or "").lower().partition("/")[0])[:40]
                found.append(RemoteOutput(kind or "unknown", url, _duration_s(content.get("duration"))))
    return tuple(found)


def _usage(value: object) -> Usage:
    if not isinstance(value, dict):
        return Usage()
    return Usage(cost_usd=money(value.get("cost")), discount=money(value.get("discount")), raw=plain(value))


def _object(value: object) -> dict[str, Any]:
    return plain(value) if isinstance(value, dict) else {}


def _error(value: object) -> WireError | None:
    """An error object or a bare string; `None` for what tells of no error (empty, or a code that means success)."""
    if isinstance(value, str):
        message = _text(value)
        return WireError(UNKNOWN_CODE, message) if message else None
    if not isinstance(value, dict):
        return None
    code = normalise(value.get("code"))
    if code in {"0", "200"}:
        return None
    message = _text(value.get("error_message")) or _text(value.get("message")) or ""
    return WireError(code, message) if message or code != UNKNOWN_CODE else None


def _bare_error(data: Mapping[str, Any]) -> WireError | None:
    return _error({"code": data.get("code"), "message": data.get("message")})


def _envelope(value: object) -> tuple[int | None, WireError | None]:
    """The HTTP-like code and the error of `{"status": {"code": 402, "message": ..., "error_code": 40201}}`."""
    if not isinstance(value, dict):
        return None, None
    number = _decimal(value.get("code"))
    http_code = int(number) if number is not None and 100 <= number <= 599 else None
    if http_code is not None and http_code < 400:
        return http_code, None
    detail = value.get("error_code") if http_code is not None and value.get("error_code") else value.get("code")
    return http_code, _error({"code": detail, "message": value.get("message")})


class _Read(fields.Field[Any]):
    """A field that reads any value, or the absence of one, by a function that never raises."""

    def __init__(self, read: Callable[[object], Any]) -> None:
        super().__init__()
        self._read = read

    def deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> Any:
        return self._read(None if value is missing else value)


class _AnswerSchema(Schema):
    """The answers of create and poll, and the bodies of errors: they share their fields."""

    class Meta:
        unknown = EXCLUDE

    id = _Read(_id)
    status = _Read(_status)
    envelope = _Read(_envelope)
    progress = _Read(_progress)
    output = _Read(_outputs)
    usage = _Read(_usage)
    metadata = _Read(_object)
    error = _Read(_error)
    bare_error = _Read(lambda value: value)

    @post_load
    def build(self, data: dict[str, Any], **_kwargs: Any) -> TaskAnswer:
        http_code, envelope_error = data["envelope"]
        return TaskAnswer(
            task_id=data["id"] or None,
            id_unreadable=data["id"] == "",
            status=data["status"],
            http_code=http_code,
            progress=data["progress"],
            outputs=data["output"],
            usage=data["usage"],
            metadata=data["metadata"],
            error=data["error"] or (envelope_error if http_code else None),
            bare_error=data["bare_error"] or envelope_error,
        )


_ANSWER: Final = _AnswerSchema()
