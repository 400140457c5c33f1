"""How long a task took by the provider's own stamps, whatever stands in their place."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.vtrix.outcomes import poll_answer
from tasks.vtrix.stamps import took_s
from tests.unit.vtrix.replies import NOW, reply


@pytest.mark.parametrize(
    ("begun", "ended", "found"),
    [
        (1760000001, 1760000150, 149),
        ("1760000001", "1760000150.5", 149.5),
        (1760000001000, 1760000150000, 149),
        ("2026-11-01T12:00:00+00:00", "2026-11-01T12:01:30+00:00", 90),
        ("2026-11-01T12:00:00Z", "2026-11-01T12:01:30", 90),
        (1760000150, 1760000001, None),
        (1760000001, 1760100001, None),
        (None, 1760000150, None),
        (1760000001, None, None),
        (True, 1760000150, None),
        (0, 100, None),
        (-5, 5, None),
        ("soon", "later", None),
        ("nan", "inf", None),
        ({"at": 1}, [2], None),
        (10**400, 1, None),
    ],
)
def test_table(begun: object, ended: object, found: float | None) -> None:
    assert took_s({"in_queue_at": begun, "completed_at": ended}) == found


@pytest.mark.parametrize(
    ("metadata", "found"), [({"in_queue_at": 1760000001, "completed_at": 1760000021}, 20), ({}, None)]
)
def test_a_completed_answer_tells_it(metadata: dict[str, Any], found: float | None) -> None:
    answer = poll_answer(reply(200, {"id": "a1", "status": "completed", "metadata": metadata}), "a1", now=NOW)
    assert answer.took_s == found  # type: ignore[union-attr]
