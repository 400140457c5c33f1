"""A bootstep in every worker that seeds lanes whose heartbeat has expired. There is no leader and no beat."""

from __future__ import annotations

from typing import Any

import structlog
from celery import bootsteps
from kombu.exceptions import OperationalError

from tasks import lanes
from tasks.ledger import LedgerError
from tasks.pulse import PulseError
from workers.settings import settings

log = structlog.get_logger("reelworks.lanes")


class LaneKeeper(bootsteps.StartStopStep):
    """Looks after every lane each `lane_check_s` seconds, from the worker's own timer."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._timer_entry: Any = None

    def start(self, parent: Any) -> None:
        """Look at the lanes now, and again and again from then on."""
        self._check(parent)
        self._timer_entry = parent.timer.call_repeatedly(settings().lane_check_s, self._check, (parent,))

    def stop(self, parent: Any) -> None:  # noqa: ARG002 (celery's interface)
        """Look no more."""
        if self._timer_entry is not None:
            self._timer_entry.cancel()
            self._timer_entry = None

    shutdown = stop

    def _check(self, parent: Any) -> None:
        for name in lanes.LANES:
            try:
                lanes.seed(name, parent.app.send_task)
            except (PulseError, LedgerError, OperationalError) as error:
                # A worker may well start before the database does, which its first look at the lanes opens.
                log.warning("lane_not_checked", lane=name, error=type(error).__name__)
                # One time-out is enough: this is the worker's own loop, which has to find back to the broker as well.
                return
