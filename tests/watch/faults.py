"""A trouble as a value: what is done to a stack, which alerts it has to raise, and how it is mended again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.watch.scene import Scene


def _nothing(_scene: Scene) -> None:
    return


@dataclass(frozen=True)
class Fault:
    """`how` is for the table. `before` is done untimed, `keep_up` about once a second while the trouble lasts."""

    how: str
    alerts: tuple[str, ...]
    cause: Callable[[Scene], None]
    mend: Callable[[Scene], None]
    before: Callable[[Scene], None] = _nothing
    keep_up: Callable[[Scene], None] = _nothing


@dataclass(frozen=True)
class Place:
    """A scene and what happens in it, one after the other. `disk_bytes`: of its store, `None` for the machine's own."""

    name: str
    faults: tuple[Fault, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    on_postgres: bool = False
    disk_bytes: int | None = None
