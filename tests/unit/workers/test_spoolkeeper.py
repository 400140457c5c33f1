"""What keeps a machine's spool going while its worker's connections come and go."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, call

import pytest

from tasks import context
from tests.support.waiting import wait_until
from workers import spoolkeeper
from workers.spoolkeeper import SpoolKeeper


def test_a_keeper_that_was_stopped_and_started_during_a_slow_replay_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, answered = threading.Event(), threading.Event()
    replays: list[threading.Thread] = []

    def replay(*_: Any) -> None:
        replays.append(threading.current_thread())
        begun.set()
        answered.wait(30)

    monkeypatch.setattr(context, "current", Mock())
    monkeypatch.setattr(spoolkeeper, "replay", replay)
    monkeypatch.setattr(spoolkeeper, "settings", lambda: SimpleNamespace(lane_check_s=0.001))
    worker = Mock()
    keeper = SpoolKeeper(worker)
    keeper.start(worker)
    try:
        assert begun.wait(30)
        keeper.stop(worker)
        keeper.start(worker)
        answered.set()
        wait_until(lambda: len(replays) >= 3, what="the replays after the reconnection")
    finally:
        keeper.stop(worker)
        answered.set()
        for thread in set(replays):
            thread.join(30)


def test_what_waits_is_told_at_every_look_and_that_nothing_does_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx, looks = Mock(), iter([0, 2, 2, 0, 0, 0])
    seen = threading.Event()

    def waiting() -> int:
        try:
            return next(looks)
        except StopIteration:
            seen.set()
            return 0

    ctx.spool.waiting = waiting
    monkeypatch.setattr(context, "current", lambda: ctx)
    monkeypatch.setattr(spoolkeeper, "replay", Mock())
    monkeypatch.setattr(spoolkeeper, "settings", lambda: SimpleNamespace(lane_check_s=0.001))
    ctx.spool.name = lambda: "first"
    ctx.spool.has_name = lambda: True
    worker = Mock()
    keeper = SpoolKeeper(worker)
    keeper.start(worker)
    try:
        assert seen.wait(30)
    finally:
        keeper.stop(worker)
    assert ctx.pulse.spools.tell.call_args_list == [call("first", waiting) for waiting in (0, 2, 2, 0)]
