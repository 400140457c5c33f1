"""Workers without the guard: a create whose outcome is not known is simply sent again, as a usual retry would.

`python -m tests.chaos run --app tests.chaos.careless` shows that a chaos run sees what that costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.domain.answers import CreateOutcome, Unknown
from tasks.vtrix.client import VtrixClient
from workers.app import app

__all__ = ["app"]

_create = VtrixClient.create


def _create_until_answered(self: VtrixClient, body: Mapping[str, Any]) -> CreateOutcome:
    outcome = _create(self, body)
    return _create(self, body) if isinstance(outcome, Unknown) else outcome


VtrixClient.create = _create_until_answered  # type: ignore[method-assign]  # the whole point
