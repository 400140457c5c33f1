"""Who has a lane's turn, and for how long, on a real Redis."""

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


def test_a_lane_that_is_left_to_others_is_passed_on_some_times_and_then_taken(
    pulse: Pulse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whoever has it then: were it passed on for ever, nobody would work where all of them leave it to others."""
    monkeypatch.setattr(lanes, "_LEFT_UNTIL", {})
    ctx: Any = SimpleNamespace(pulse=pulse, policy=Policy(lane_ttl_s=TTL_S))
    monkeypatch.setattr(context, "current", lambda: ctx)
    epoch = pulse.lanes.seed("poll", 60)
    assert epoch is not None

    def received(headers: dict[str, Any]) -> dict[str, Any]:
        """The message that comes of one; a turn, which asks to come back in 0.25 s, if its countdown says so."""
        published: list[dict[str, Any]] = []
        task: Any = SimpleNamespace(apply_async=lambda **message: published.append(message), request=headers)
        lanes._take_turn(task, "poll", lambda _: 0.25, epoch)
        return published[0]

    def countdowns(of: int) -> list[float]:
        headers, found = {}, []
        for _ in range(of):
            message = received(headers)
            headers = message["headers"]
            found.append(message["countdown"])
        return found

    assert countdowns(2) == [0.25, 0.25]
    lanes.leave_to_others("poll", 60)
    assert countdowns(6) == [0.0, 0.0, 0.0, 0.25, 0.0, 0.0]
    lanes.leave_to_others("poll", 0)
    assert countdowns(2) == [0.25, 0.25]
