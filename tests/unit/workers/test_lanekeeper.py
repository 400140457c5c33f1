"""What a worker does for the lanes when Redis does not answer."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
import redis

from tasks import lanes
from workers.lanekeeper import LaneKeeper


def test_a_silent_redis_is_waited_for_once_a_check_and_not_once_a_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def seed(name: str, _send: Any) -> bool:
        asked.append(name)
        raise redis.TimeoutError

    monkeypatch.setattr(lanes, "seed", seed)
    worker = Mock()
    keeper = LaneKeeper(worker)
    keeper.start(worker)
    assert len(asked) == 1
    _, check, arguments = worker.timer.call_repeatedly.call_args.args
    check(*arguments)
    assert len(asked) == 2
