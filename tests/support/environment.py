"""What a process that a test starts has of this one's environment."""

from __future__ import annotations

import os


def foreign_environment() -> dict[str, str]:
    """All that says nothing of Reelworks: a stack or a key of whoever runs the tests is nothing to them."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("REELWORKS_", "VTRIX_"))}
