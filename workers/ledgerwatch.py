"""A bootstep in every worker that takes messages only while this machine reaches the database.

A worker that cannot do its work is always free for the next message: on a machine that the network has cut off from the
database it would take one after the other away from those who could.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import structlog
from celery import bootsteps

from tasks import context
from tasks.ledger import LedgerError, SchemaMismatch
from workers.forking import apart_from_forks
from workers.settings import settings

log = structlog.get_logger("reelworks.workers")

_FOLLOW_S: Final = 0.5


class LedgerWatch(bootsteps.StartStopStep):
    """Asks the database each `lane_check_s` seconds, in a thread of its own: an answer that does not come takes time.

    What follows from it is done by the worker's own timer, because only the worker's thread may touch its consumer.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._reached = True
        self._left: list[str] = []
        self._ended = threading.Event()
        self._timer_entry: Any = None

    def start(self, parent: Any) -> None:
        """Begin to ask, and to leave or take up the queues by what is heard."""
        self._ended = threading.Event()
        threading.Thread(target=self._watch, args=(self._ended,), name="ledger", daemon=True).start()
        self._timer_entry = parent.timer.call_repeatedly(_FOLLOW_S, self._follow, (parent,))

    def stop(self, parent: Any) -> None:  # noqa: ARG002 (celery's interface)
        """Ask no more."""
        self._ended.set()
        if self._timer_entry is not None:
            self._timer_entry.cancel()
            self._timer_entry = None

    shutdown = stop

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(settings().lane_check_s):
            try:
                with apart_from_forks(), context.current().ledger.read() as tx:
                    tx.now  # noqa: B018 (asks the server)
            except (LedgerError, SchemaMismatch):
                self._reached = False
            else:
                self._reached = True

    def _follow(self, parent: Any) -> None:
        if self._reached and self._left:
            for queue in self._left:
                parent.add_task_queue(queue)
            log.info("messages_taken_again", queues=self._left)
            self._left = []
        elif not self._reached and not self._left:
            self._left = list(parent.app.amqp.queues.consume_from)
            for queue in self._left:
                parent.cancel_task_queue(queue)
            log.warning("database_not_reached", queues_left=self._left)
