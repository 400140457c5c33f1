"""The saved samples of what crosses a deploy, by their names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_OWN = Path(__file__).parents[1] / "contract" / "samples" / "own"


def sample(name: str) -> Any:
    """One of our own forms, as JSON values; each call gives a copy that may be changed."""
    return json.loads((_OWN / f"{name}.json").read_text())
