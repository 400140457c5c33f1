"""Values in the sentences of a refusal: short, on one line, and nothing in them acts where the sentence is shown.

Owns how a value looks there. Refuses to judge it, and to show it whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

INT_MAX: Final = 2**63 - 1
"""The largest integer that is written out, and that metadata may hold."""
_SHOWN_CHARS: Final = 40


def shown(value: object) -> str:
    """A value as Python writes it: short, on one line, ASCII."""
    try:
        return short(ascii(value))
    except ValueError:  # an immense integer, or something that holds one
        return kind(value)


def visible(text: str) -> str:
    """A text with a mark for what is invisible: a line break or an escape sequence would act there."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in text)


def shown_int(value: int) -> str:
    """An integer. Thousands of digits help nobody, and Python itself refuses to write more of them."""
    if abs(value) <= INT_MAX:
        return str(value)
    return "above 2^63" if value > 0 else "below -2^63"


def kind(value: object) -> str:
    """The JSON name of a value's type, which unlike the value can always be shown."""
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", type(None): "null"}
    if isinstance(value, Mapping):
        return "an object"
    return names.get(type(value), "a list" if isinstance(value, list | tuple) else f"a {type(value).__name__}")


def short(text: str) -> str:
    """A text for a message, cut at 40 characters."""
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 3]}..."
