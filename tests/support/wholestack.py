"""The embedded stack for those who know nothing of it but the address of its Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.environment import foreign_environment
from tests.support.works import QUICK
from workers.embedded import EmbeddedStack, StackOptions


@contextmanager
def whole_stack(var: Path) -> Iterator[EmbeddedStack]:
    """All parts but Flower and the gateway, in a hurry."""
    foreign = foreign_environment()
    options = StackOptions(var=var, speed=300, flower=False, gateway=False, env={**foreign, **QUICK})
    with EmbeddedStack(options) as running:
        yield running
