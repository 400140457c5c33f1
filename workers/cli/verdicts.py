"""What a check of `doctor` says: what was looked at, what was found, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What `doctor` says of one thing: well, to be looked at, or not usable."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found, and what to do about it (empty: nothing)."""

    name: str
    verdict: Verdict
    found: str
    todo: str = ""


def ok(name: str, found: str) -> Check:
    """It is well."""
    return Check(name, Verdict.OK, found)


def warning(name: str, found: str, todo: str) -> Check:
    """It works, and somebody should look at it: `todo` is what to do."""
    return Check(name, Verdict.WARNING, found, todo)


def broken(name: str, found: str, todo: str) -> Check:
    """It can't be used: `todo` is what to do first."""
    return Check(name, Verdict.BROKEN, found, todo)
