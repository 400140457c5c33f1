"""Who calls the gateway: a key is one tenant's, and allows what its scopes say. Refuses to know a key's secret."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Scope(StrEnum):
    """What a key may do, each for its own tenant alone. None includes another."""

    SUBMIT = "submit"
    """Ask for films, cancel jobs, have failed ones tried again where that costs nothing."""
    READ = "read"
    """See jobs, films and costs."""
    ADMIN = "admin"
    """What costs beyond what was asked for: create a job's film once more."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is known to everybody. `name`: whatever its owner calls it. Instants are aware, UTC."""

    id: str
    tenant: str
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether it still opens anything."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)
