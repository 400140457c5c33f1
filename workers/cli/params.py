"""What may be typed for an option: each kind of value with its rule, and the sentence for what breaks it."""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import click

NO_LIMIT: Final = "none"
"""In the place of a number: the settings' own, or none at all."""
_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST_S: Final = 366 * 86_400
_MOST: Final = 1_000_000
_MOST_PER_MINUTE: Final = 100_000.0


class Finite(click.FloatRange):
    """A number within a range, which `nan` is not, whatever it is compared with, and neither is `inf`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """click's entry: the number, or a sentence about it."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


SPEED: Final = Finite(min=0, min_open=True)
"""The simulator's time factor."""


class Dollars(click.ParamType[Decimal]):
    """US dollars from nothing to `most`, to a millionth: `0.28`, `$250`."""

    name = "usd"

    def __init__(self, most: int) -> None:
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """click's entry: the amount, or a sentence about it."""
        try:
            amount = Decimal(str(value).removeprefix("$"))
        except InvalidOperation:
            amount = Decimal("nan")
        if not (amount.is_finite() and 0 <= amount <= self._most and amount == round(amount, 6)):
            self.fail(f"{value} is not an amount from 0 to {self._most} such as 99.50.", param, ctx)
        return amount


class Lasting(click.ParamType[float]):
    """How long: `90s`, `30m`, `2h`, `1h30m`, `2d`; a plain number is seconds. Gives seconds, a year of them at most."""

    name = "time"

    def __init__(self, least_s: float = 0.0) -> None:
        self._least_s = least_s

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read seconds, or fail with what may be said."""
        text = str(value).strip()
        text = f"{text}s" if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) else text
        if not re.fullmatch(r"(\d+(\.\d+)?[smhd])+", text, re.ASCII):
            self.fail(f"{value!r} is not a time such as 90s, 30m, 1h30m or 2d.", param, ctx)
        parts = re.findall(r"([\d.]+)([smhd])", text)
        seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
        if not self._least_s <= seconds <= _LONGEST_S:
            self.fail(f"{value!r} is not between {self._least_s:g} s and a year.", param, ctx)
        return seconds


class Line(click.ParamType[str]):
    """A line of text that can be printed, of so many characters at most."""

    name = "text"

    def __init__(self, most: int) -> None:
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read one printable line of bounded length, or fail with that rule."""
        text = str(value).strip()
        if not 0 < len(text) <= self._most or not text.isprintable():
            self.fail(f"has to be one line of 1 to {self._most} characters that can be printed.", param, ctx)
        return text


def checked_tenant(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A tenant's name, by the rule that holds for requests."""
    if value is not None and not _TENANT.match(value):
        raise click.BadParameter(f"{value!r} is no tenant: 1 to 64 letters, digits, - or _.", ctx, param)
    return value


def limit_or_none(ctx: click.Context, param: click.Parameter, value: str | None) -> int | str | None:
    """How many tasks or jobs, or `none` for no limit of one's own; `None`: not given."""
    if value is None or value == NO_LIMIT:
        return value
    if not value.isascii() or not value.isdigit() or int(value) > _MOST:
        raise click.BadParameter(f"{value!r} is neither a whole number up to {_MOST:,} nor {NO_LIMIT}.", ctx, param)
    return int(value)


def pace_or_none(ctx: click.Context, param: click.Parameter, value: str | None) -> float | str | None:
    """How many a minute, or `none` for no limit of one's own; `None`: not given."""
    if value is None or value == NO_LIMIT:
        return value
    try:
        pace = float(value)
    except ValueError:
        pace = 0.0
    if not 0 < pace <= _MOST_PER_MINUTE:
        sentence = f"{value!r} is neither a number above 0, up to {_MOST_PER_MINUTE:,.0f}, nor {NO_LIMIT}."
        raise click.BadParameter(sentence, ctx, param)
    return pace
