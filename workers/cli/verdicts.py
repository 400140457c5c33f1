"""What a check of `doctor` says: what was looked at, what was found, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
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
    return Check(name, Verdict.OK, found)


def warning(name: str, found: str, todo: str) -> Check:
    return Check(name, Verdict.WARNING, found, todo)


def broken(name: str, found: str, todo: str) -> Check:
    return Check(name, Verdict.BROKEN, found, todo)
