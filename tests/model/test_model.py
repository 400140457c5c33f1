"""The state machine at the scale of every test run; `make model` runs it longer, and otherwise each time."""

from __future__ import annotations

import pytest

from tests.model.machine import Machine
from tests.model.run import run


@pytest.mark.timeout(300)
def test_whatever_happens_in_whatever_order_each_job_is_paid_for_once() -> None:
    run(30, 30, derandomize=True)
    # A run that never came to the point proves nothing.
    assert Machine.seen["examples"] >= 25
    for event in ("accepted", "unknown", "unsent", "rejected", "completed", "charged", "anew", "write_off", "cancel"):
        assert Machine.seen[event] > 0, f"nothing was ever {event}"
