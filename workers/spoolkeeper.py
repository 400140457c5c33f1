"""A bootstep in every worker that brings spooled answers into the ledger as soon as it can be written again, and tells
how many wait."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import structlog
from celery import bootsteps

from tasks import context
from tasks.answering import replay
from tasks.context import Context
from tasks.pulse import PulseError
from workers.forking import apart_from_forks
from workers.settings import settings

log = structlog.get_logger("reelworks.create")


class SpoolKeeper(bootsteps.StartStopStep):
    """Looks into this machine's spool each `lane_check_s` seconds, in a thread of its own.

    Of its own, because it waits for a database that may be away, and neither the timer nor the event loop of a worker
    may wait. The workers of a machine share the spool; one at a time works it.
    """

    _told: int | None = None
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._ended = threading.Event()

    def start(self, parent: Any) -> None:  # noqa: ARG002 (celery's interface)
        """Begin to look, in a new thread."""
        # A new thread each time: the one before may still wait for the database, and ends once it looks up. Of two that
        # overlap, one has the spool.
        self._ended = threading.Event()
        threading.Thread(target=self._keep, args=(self._ended,), name="spool", daemon=True).start()

    def stop(self, parent: Any) -> None:  # noqa: ARG002 (celery's interface)
        """Have the thread end at its next look."""
        self._ended.set()

    shutdown = stop

    def _keep(self, ended: threading.Event) -> None:
        while not ended.wait(settings().lane_check_s):
            try:
                with apart_from_forks():
                    ctx = context.current()
                # Apart an entry at a time: a fork does not wait for as long as all of them may take.
                replay(ctx, apart_from_forks)
                with apart_from_forks():
                    self._tell(ctx)
            except Exception:
                # Whatever it is, the entries stay; the next look may have more luck.
                log.exception("spool_not_replayed")

    def _tell(self, ctx: Context) -> None:
        """What waits is told at every look, since Redis can forget it; that nothing does, once."""
        waiting = ctx.spool.waiting()
        if waiting or (waiting != self._told and ctx.spool.has_name()):
            with suppress(PulseError):
                ctx.pulse.spools.tell(ctx.spool.name(), waiting)
                self._told = waiting
