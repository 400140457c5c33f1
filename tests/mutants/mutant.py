"""What a mutant is, and how most of them take their guard out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.mutants.rewriting import rewrite


@dataclass(frozen=True)
class Mutant:
    """`what` is then the case; `apply` takes the guard out of this process; `caught_by` is the id of a test."""

    name: str
    what: str
    apply: Callable[[], None]
    caught_by: str


def without(function: Callable[..., Any], old: str, new: str) -> Callable[[], None]:
    """Takes `old` out of a function, and puts `new` in its place."""
    return partial(rewrite, function, old, new)


def all_of(*steps: Callable[[], None]) -> Callable[[], None]:
    """Takes a guard out that stands in several places."""

    def apply() -> None:
        for step in steps:
            step()

    return apply
