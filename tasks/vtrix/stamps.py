"""When the provider says that a task began and ended: how long it took, by its clock alone. Refuses to raise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

_LONGEST_S: Final = 86_400.0
_MILLISECONDS_FROM: Final = 1e11
"""An epoch so large is one of milliseconds."""


def took_s(metadata: Mapping[str, Any]) -> float | None:
    """From `in_queue_at` to `completed_at`, both epochs or ISO 8601; `None` when they are missing or make no sense.

    The specification names neither: they are what other clients of the provider have met, in whole seconds.
    """
    begun_s, ended_s = _epoch_s(metadata.get("in_queue_at")), _epoch_s(metadata.get("completed_at"))
    if begun_s is None or ended_s is None or not 0 <= ended_s - begun_s <= _LONGEST_S:
        return None
    return ended_s - begun_s


def _epoch_s(stamp: object) -> float | None:
    if isinstance(stamp, bool) or not isinstance(stamp, int | float | str):
        return None
    try:
        epoch_s = float(stamp)
    except (ValueError, OverflowError):
        epoch_s = _iso_epoch_s(str(stamp))
    if not math.isfinite(epoch_s) or epoch_s <= 0:
        return None
    return epoch_s / 1000 if epoch_s > _MILLISECONDS_FROM else epoch_s


def _iso_epoch_s(text: str) -> float:
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return math.nan
