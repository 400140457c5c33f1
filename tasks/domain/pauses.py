"""Pauses: a person's word that nothing new is to be created for all, for a tenant, or with a key. Pure; refuses clocks.

A pause stops creates and nothing else: who waits goes on waiting, and what the provider has is followed to its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Scope(StrEnum):
    """For whom nothing new is created."""

    ALL = "all"
    TENANT = "tenant"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Pause:
    """One pause. `name` is the tenant's or the key's, empty for all. `until`: `None` stands until somebody resumes.

    `at` and `by` (who) are `None` for a key that a version before has closed.
    """

    scope: Scope
    name: str = ""
    at: datetime | None = None
    by: str | None = None
    reason: str | None = None
    until: datetime | None = None

    @property
    def of(self) -> str:
        """What is paused: `all`, `tenant film`, `key main`."""
        return self.scope if self.scope is Scope.ALL else f"{self.scope} {self.name}"

    def is_in_force(self, now: datetime) -> bool:
        """Whether it still holds at `now` (aware)."""
        return self.until is None or now < self.until
