"""How long a lane's turn is kept alive, on a real Redis."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from tasks import context, lanes
from tasks.policy import Policy
from tasks.pulse import Pulse
from tests.support.waiting import wait_until

TTL_S = 2.0


def test_a_turn_that_hangs_is_kept_for_a_bounded_time_and_then_replaced(
    pulse: Pulse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "_LONGEST_TURN_TTLS", 4)
    ctx: Any = SimpleNamespace(pulse=pulse, policy=Policy(lane_ttl_s=TTL_S))
    monkeypatch.setattr(context, "current", lambda: ctx)
    published: list[Any] = []
    task: Any = SimpleNamespace(apply_async=lambda **message: published.append(message))
    comes_back = threading.Event()

    def hang(_: context.Context) -> float:
        comes_back.wait(90)
        return 0.0

    epoch = pulse.lanes.seed("sweep", TTL_S)
    assert epoch is not None
    begun = time.monotonic()
    turn = threading.Thread(target=lanes._take_turn, args=(task, "sweep", hang, epoch))
    with structlog.testing.capture_logs() as logged:
        turn.start()
        try:
            newer = wait_until(lambda: pulse.lanes.seed("sweep", 60), within_s=60, what="another lane")
            kept_s = time.monotonic() - begun
        finally:
            comes_back.set()
            turn.join()
    assert newer > epoch
    assert kept_s > 2 * TTL_S  # a turn that is merely slow is not doubled
    assert [line["event"] for line in logged] == ["lane_turn_hangs"]
    assert published == []  # what came back late fell silent
