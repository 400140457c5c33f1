"""A reader of the provider's JSON for the rules: so that a mistake of the product's own is no mistake here.

Owns what stands where in a reply, and what counts as an id, a word, a number, an amount. Refuses to say what follows.
"""

from __future__ import annotations

import json
import re
from fractions import Fraction
from typing import Any

LISTED = {10004095, 10004096, 10004097, 10004098, 10004099, 1002, 1004, 1008, 1026, 1027, 1033, 1039, 1041, 2013, 2049}
MAX_CHARGE = 1_000_000


class Num(str):
    """A JSON number as it was written."""

    __slots__ = ()


class Members(dict):
    """A JSON object; `pairs` has also what a later member of the same name hides."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def reread(body: bytes) -> Members | None:
    """The object in the bytes, or `None`."""
    try:
        doc = json.loads(body, parse_float=Num, parse_int=Num, parse_constant=Num, object_pairs_hook=Members)
    except (ValueError, RecursionError):
        return None
    return doc if isinstance(doc, Members) else None


def task_in(doc: Members) -> dict[str, Any]:
    """The task's own fields: those of `data` where it is wrapped, else the object itself."""
    inner = doc.get("data")
    wrapped = isinstance(inner, dict) and is_no_id(doc.get("id"))
    return {**doc, **inner} if wrapped else dict(doc)


def ids_in(doc: Members) -> list[Any]:
    """Whatever stands in the place of the task's id, at the top or in `data`, but for what means that none is there."""
    holders = [doc, *(value for name, value in doc.pairs if name == "data" and isinstance(value, Members))]
    found = [value for holder in holders for name, value in holder.pairs if name == "id"]
    return [value for value in found if value is not None and value != ""]


def usable_id(value: Any) -> str | None:
    """The id as a text that can stand in a URL's path, if it is one."""
    if isinstance(value, Num):
        return str(value) if re.fullmatch(r"[1-9][0-9]{0,29}", value) else None
    if not isinstance(value, str) or value in {".", ".."}:
        return None
    return value if 0 < len(value) <= 200 and all(33 <= ord(char) <= 126 for char in value) else None


def is_no_id(value: Any) -> bool:
    return (
        value is None or value is False or value in ("", [], {}) or (isinstance(value, Num) and number_of(value) == 0)
    )


def looks_like_an_id(body: bytes) -> bool:
    return re.search(rb'"id"\s*:\s*("[!#-~]|[1-9])', body) is not None


def contradicts(doc: Members) -> bool:
    """Whether what decides about the id stands there twice, and in two ways."""
    holders = [doc, *(value for name, value in doc.pairs if name == "data" and isinstance(value, Members))]
    pairs = [(holder[name], value) for holder in holders for name, value in holder.pairs if name in {"id", "data"}]
    return any(_plainly(last) != _plainly(value) for last, value in pairs)


def _plainly(value: Any) -> Any:
    """The value as a reader has it that keeps numbers as numbers: there `1`, `1.0` and `true` are equal."""
    number = Fraction(value) if isinstance(value, bool) else number_of(value) if isinstance(value, Num) else None
    return value if number is None else number


def is_error(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value) and str(value.get("code")).strip() not in {"0", "200"}
    return isinstance(value, str) and not isinstance(value, Num) and word_of(value) != ""


def is_listed(value: Any) -> bool:
    number = number_of(value)
    return number is not None and number in LISTED


def word_of(value: Any) -> str:
    if not isinstance(value, str) or isinstance(value, Num):
        return ""
    return "".join(char for char in value if char.isprintable()).strip().lower()


def number_of(value: Any) -> Fraction | None:
    """A numeral of reasonable size, as a JSON number or as text."""
    text = value.strip() if isinstance(value, str) else ""
    if len(text) > 200 or not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?", text):
        return None
    return Fraction(text)


def amount_of(value: Any) -> tuple[str, Fraction | None]:
    """`plain` for an amount that anybody would read so, `none` for what is none, `odd` for what may be either."""
    text = value.strip() if isinstance(value, str) else ""
    numeral = re.fullmatch(r"([+-]?)([0-9]*)\.?([0-9]*)(?:[eE]([+-]?[0-9]+))?", text)
    if numeral is None or not numeral[2] + numeral[3]:
        return "none", None
    if not (numeral[2] + numeral[3]).strip("0"):
        return ("odd" if numeral[1] or numeral[4] or len(text) > 20 else "plain"), Fraction(0)
    if numeral[1] == "-":
        return "none", None
    if len(text) > 200 or abs(int((numeral[4] or "0")[:10])) > 100:
        return "odd", Fraction(0)  # beyond all amounts, or far below the smallest
    amount = Fraction(text)
    if amount > MAX_CHARGE:
        return "none", None
    plain = re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,20})?", text) is not None
    return ("plain" if plain else "odd"), amount
