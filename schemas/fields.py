"""Field types for requests: strict about types, and every complaint is a `Problem` with a stable code.

Owns the shape of one value at a time; refuses rules that need a second field or the model (`rules`). Nothing is
coerced: `"6"`, `6.0` and `True` are no integers, `"true"` and `1` are no booleans.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar

from marshmallow import ValidationError, fields

from .errors import Problem, RequestInvalid
from .images import Image, parse_image
from .urls import url_problem
from .wording import INT_MAX, kind, short, shown, shown_int, visible

T = TypeVar("T")

METADATA_MAX_KEYS: Final = 50
METADATA_MAX_BYTES: Final = 8192
METADATA_MAX_DEPTH: Final = 6
_compact: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_AMOUNT: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_MAX_USD: Final = 1_000_000
_SMALLEST_USD: Final = Decimal("0.000001")


def fault(code: str, message: str, path: str = "") -> ValidationError:
    """One broken rule in the form that marshmallow collects; `path` is relative to the field."""
    return ValidationError([Problem(path, code, message)])


def text_problem(text: str) -> Problem | None:
    """What keeps a text from being stored and sent everywhere: NUL characters and halves of surrogate pairs."""
    if "\x00" in text:
        return Problem("", "text_nul", "a text must not hold the character U+0000")
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return Problem("", "text_surrogate", "a text must not hold half of a surrogate pair")
    return None


class Strict(fields.Field[T]):
    """A field whose value is read from the value given, and nothing else.

    For schemas that are `partial`, loading what has no null in it: marshmallow's own steps before and after the reading
    (absent, null, validators) would find nothing to do, and take longer than it.
    """

    def read(self, value: object) -> T:
        """The value itself. Raises marshmallow's `ValidationError` with a list of `Problem`s."""
        raise NotImplementedError

    def deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> T:
        """marshmallow's entry: the value, read by `read`. Raises `ValidationError`."""
        return self.read(value)


def _documented(given: Mapping[str, Any], rules: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a field whose rules also stand in its `metadata`, by their names in JSON Schema."""
    return {**given, "metadata": {**rules, **given.get("metadata", {})}}


class StrictBool(Strict[bool]):
    """`true` or `false` alone: no number and no word stands for one."""

    def read(self, value: object) -> bool:
        """The boolean itself. Raises `ValidationError`."""
        if type(value) is not bool:
            raise fault("not_a_boolean", f"must be true or false, not {kind(value)}")
        return value


class StrictInt(Strict[int]):
    """A whole number, within `bounds` (both included) where there are any; no boolean, float or digits."""

    def __init__(self, *, bounds: tuple[int, int] | None = None, **kwargs: Any) -> None:
        super().__init__(**_documented(kwargs, {} if bounds is None else {"minimum": bounds[0], "maximum": bounds[1]}))
        self.bounds = bounds

    def read(self, value: object) -> int:
        """The integer itself. Raises `ValidationError`."""
        if type(value) is not int:
            raise fault("not_an_integer", f"must be an integer, not {kind(value)}")
        if self.bounds is not None and not self.bounds[0] <= value <= self.bounds[1]:
            raise fault("out_of_range", f"must be from {self.bounds[0]} to {self.bounds[1]}; {shown_int(value)} is not")
        return value


class StrictText(Strict[str]):
    """A string, optionally of one pattern; `rule` says the pattern in words, and the value is shown with it."""

    def __init__(self, *, pattern: str | None = None, rule: str = "", **kwargs: Any) -> None:
        super().__init__(**_documented(kwargs, {} if pattern is None else {"pattern": f"^{pattern}$"}))
        self.pattern, self.rule = None if pattern is None else re.compile(pattern), rule

    def read(self, value: object) -> str:
        """The string as it came, as a plain `str`. Raises `ValidationError`."""
        if not isinstance(value, str):
            raise fault("not_a_string", f"must be a string, not {kind(value)}")
        text = str(value)
        if (problem := text_problem(text)) is not None:
            raise ValidationError([problem])
        if self.pattern is not None and not self.pattern.fullmatch(text):
            raise fault("bad_format", f"must be {self.rule}; {shown(text)} is not")
        return text


class Usd(Strict[Decimal]):
    """A positive amount of US dollars, exact: a string such as "0.28", an integer or a `Decimal`, never a float."""

    def read(self, value: object) -> Decimal:
        """The amount in its shortest form. Raises `ValidationError`."""
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            raise fault("not_an_amount", f'must be US dollars as a string such as "0.28", not {kind(value)}')
        if isinstance(value, str) and not _AMOUNT.fullmatch(value):
            raise fault("not_an_amount", f'must be US dollars as a string such as "0.28"; {shown(value)} is not')
        amount = Decimal(value)
        if not amount.is_finite() or not 0 < amount <= _MAX_USD or amount != amount.quantize(_SMALLEST_USD):
            raise fault("out_of_range", f"must be above 0 and at most {_MAX_USD}, with six decimals at most")
        return amount.normalize() + 0


class UpperText(StrictText):
    """A string whose letter case does not matter; capitals are what it becomes."""

    def read(self, value: object) -> str:
        """The string in capitals. Raises `ValidationError`."""
        return super().read(value).upper()


class UrlText(StrictText):
    """An http(s) URL that is ours to open."""

    def read(self, value: object) -> str:
        """The URL as it came. Raises `ValidationError`."""
        text = super().read(value)
        if (problem := url_problem(text, public=False)) is not None:
            raise ValidationError([problem])
        return text


class ImageText(Strict[Image]):
    """A picture; `stored` says whether a reference to a stored one is understood as well."""

    stored = False

    def read(self, value: object) -> Image:
        """What the string says of the picture; bytes are decoded and checked. Raises `ValidationError`."""
        if not isinstance(value, str):
            raise fault("not_a_string", f"must be a string (a URL or a data URL), not {kind(value)}")
        try:
            return parse_image(value, stored=self.stored)
        except RequestInvalid as error:
            problems = list(error.problems)
        raise ValidationError(problems)


class StoredImageText(ImageText):
    """The same in requests that are under way already, whose pictures the store has."""

    stored = True


class Metadata(Strict[dict[str, Any]]):
    """A bounded JSON object that is handed back as it came; the result shares nothing with what was given."""

    def read(self, value: object) -> dict[str, Any]:
        """A copy that shares nothing with `value`. Raises `ValidationError` beyond the bounds, and for what is no
        JSON."""
        if not isinstance(value, dict):
            raise fault("not_an_object", f"must be an object, not {kind(value)}")
        if len(value) > METADATA_MAX_KEYS:
            raise fault("metadata_too_many_keys", f"has at most {METADATA_MAX_KEYS} keys; this one has {len(value)}")
        _check_json(value)
        text = _compact(value)
        size_bytes = len(text.encode())
        if size_bytes > METADATA_MAX_BYTES:
            raise _metadata_too_large(f"this one has {size_bytes}")
        copy: dict[str, Any] = json.loads(text)
        return copy


def _check_json(root: object) -> None:
    """Walks with a list, not by recursion, and stops early: what comes in may be deep, wide or part of itself."""
    waiting: list[tuple[str, object, int]] = [("", root, 0)]
    seen = 0
    while waiting:
        path, value, depth = waiting.pop()
        seen += 1
        if isinstance(value, dict | list):
            if depth >= METADATA_MAX_DEPTH:
                raise fault("metadata_too_deep", f"is nested at most {METADATA_MAX_DEPTH} levels deep", path)
            # Every value takes a byte at least.
            if seen + len(waiting) + len(value) > METADATA_MAX_BYTES:
                raise _metadata_too_large("this one has more")
            pairs = value.items() if isinstance(value, dict) else ((str(at), item) for at, item in enumerate(value))
            for key, item in pairs:
                _check_key(path, key)
                name = visible(key)
                waiting.append((short(f"{path}.{name}" if path else name), item, depth + 1))
        else:
            _check_scalar(path, value)


def _check_key(path: str, key: object) -> None:
    if not isinstance(key, str):
        raise fault("metadata_not_json", f"has only strings as keys, not {kind(key)}", path)
    if len(key) > METADATA_MAX_BYTES:
        raise _metadata_too_large("this one has more")
    if (problem := text_problem(key)) is not None:
        raise fault(problem.code, problem.message, path)


def _check_scalar(path: str, value: object) -> None:
    if isinstance(value, str):
        if (problem := text_problem(value)) is not None:
            raise fault(problem.code, problem.message, path)
    elif isinstance(value, int):
        if abs(value) > INT_MAX:
            raise fault("metadata_number", "an integer must fit into 64 bits", path)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise fault("metadata_number", "a number must be finite", path)
    elif value is not None:
        raise fault("metadata_not_json", f"holds JSON values only, not {kind(value)}", path)


def _metadata_too_large(but: str) -> ValidationError:
    return fault("metadata_too_large", f"has at most {METADATA_MAX_BYTES} bytes as JSON; {but}")
