"""Column types that mean the same on SQLite and PostgreSQL: exact money and aware instants."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer
from sqlalchemy.types import TypeDecorator

_MICRO = Decimal(1_000_000)


class MicroUSD(TypeDecorator[Decimal]):
    """An amount of US dollars, stored as a whole number of millionths: exact, and summed exactly by both databases.

    Takes and gives `Decimal` dollars. An amount finer than a millionth is an error rather than a silent rounding.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:  # noqa: ARG002 (the interface)
        """Millionths. Raises `ValueError` for an amount that would have to be rounded."""
        if value is None:
            return None
        micro = value * _MICRO
        if micro != micro.to_integral_value():
            raise ValueError("an amount finer than a millionth of a dollar can't be stored; quantize it first")
        return int(micro)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Decimal | None:  # noqa: ARG002 (the interface)
        """US dollars, with as many decimals as there is something to say, two at least."""
        if value is None:
            return None
        cents, finer = divmod(int(value), 10_000)
        # To the cent, as people write money; finer only where there is more to say.
        return Decimal(cents).scaleb(-2) if finer == 0 else (Decimal(int(value)) / _MICRO).normalize()


class HighestFirst(TypeDecorator[int]):
    """A whole number stored negated, so that ascending order, which one index serves on both databases, begins with
    the highest. Takes and gives the number itself."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:  # noqa: ARG002 (the interface)
        """The number negated."""
        return None if value is None else -value

    def process_result_value(self, value: Any | None, dialect: Dialect) -> int | None:  # noqa: ARG002 (the interface)
        """The number as it was given."""
        return None if value is None else -int(value)


class Instant(TypeDecorator[datetime]):
    """An aware instant in UTC. SQLite has no time zones: there the UTC wall time is stored and the zone put back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The instant in UTC, on SQLite without its zone. Raises `ValueError` for a naive one."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant must be aware")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """The instant, aware and in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
