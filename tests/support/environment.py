"""What a process that a test starts has of this one's environment."""

from __future__ import annotations

import os
from typing import Final

_OURS: Final = ("REELWORKS_", "VTRIX_", "AWS_", "OTEL_")


def foreign_environment() -> dict[str, str]:
    """All that says nothing of Reelworks: a stack, a key, a bucket or a collector of whoever runs the tests is nothing
    to them.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
