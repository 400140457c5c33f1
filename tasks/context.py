"""What tasks work with: the adapters of this process. Built once a process, after the fork, by whoever runs the tasks.

Tasks never import `workers`; a worker installs its factory here at start-up (`install`), and the first task that asks
(`current`) has it built.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from schemas.jobs import JobView
from tasks.domain.callbacks import Callbacks
from tasks.domain.figures import CHARGED_USD, CHARGES
from tasks.domain.prices import Charged
from tasks.failpoints import failpoint
from tasks.forms.webhook import GatewayPlace
from tasks.ledger import Ledger
from tasks.ledger.views import views_of
from tasks.media.outputs import OutputFetcher
from tasks.media.store import Store
from tasks.policy import Policy
from tasks.pulse import Pulse, PulseError
from tasks.spool import Spool
from tasks.traces import Traces
from tasks.vtrix.asking import Asker
from tasks.vtrix.client import VtrixClient
from tasks.webhooks import Webhooks

log = structlog.get_logger("reelworks.tasks")


def _nobody(views: Sequence[JobView]) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Context:
    """The adapters of one process, and its policy. All of them may be used by several threads at once."""

    policy: Policy
    ledger: Ledger
    pulse: Pulse
    store: Store
    spool: Spool
    fetcher: OutputFetcher
    providers: Mapping[str, VtrixClient]
    """One client a provider key, by the key's alias."""
    asker: Asker
    """Asks about many provider tasks at once, for the poll lane."""
    threads: ThreadPoolExecutor
    """For whoever waits for several servers at the same time: the poll lane has the asker."""
    webhooks: Webhooks
    gateway: GatewayPlace = field(default_factory=GatewayPlace)
    """What callers are told of where the gateway is."""
    callbacks: Callbacks | None = None
    """Where the provider calls back; `None`: it is asked alone."""
    traces: Traces | None = None
    """Where traces are sent; `None`: nowhere, and nothing is read for them."""
    tell: Callable[[Sequence[JobView]], None] = _nobody
    """Told of the views of jobs that have changed, once they are published; perhaps more than once."""

    def __post_init__(self) -> None:
        self.ledger.on_charged = self._count_charged

    def _count_charged(self, charged: Sequence[Charged]) -> None:
        for each in charged:
            labels = each.model, each.key_alias, "true" if each.price.estimated else "false"
            self.pulse.tally.add(CHARGES, *labels)
            self.pulse.tally.add(CHARGED_USD, *labels, amount=int(each.price.amount_usd * CHARGED_USD.per_unit))

    def show(self, job_ids: Sequence[str], turn_gaps_s: Mapping[str, float] | None = None) -> None:
        """Bring the live view of these jobs up to date. It is a view: when Redis can't be reached, work goes on.

        `turn_gaps_s`: seconds between the turns of tenants whose jobs these are.
        """
        if not job_ids:
            return
        with self.ledger.read() as tx:
            views = views_of(tx, job_ids)
        self.publish(views, turn_gaps_s)

    def publish(self, views: Sequence[JobView], turn_gaps_s: Mapping[str, float] | None = None) -> None:
        """Publish views that are made already."""
        try:
            failpoint("view.before_publish")
            self.pulse.views.publish(views, turn_gaps_s)
            failpoint("view.after_publish")
        except PulseError as error:
            log.warning("view_not_published", jobs=len(views), error=type(error).__name__)
            return
        self.tell(views)

    def close(self) -> None:
        """Close all connections; nothing may use the context any more."""
        self.threads.shutdown()
        if self.traces is not None:
            self.traces.close()
        self.webhooks.close()
        self.asker.close()
        self.fetcher.close()
        for provider in self.providers.values():
            provider.close()
        self.pulse.close()
        self.ledger.close()


_factory: Callable[[], Context] | None = None
_built: tuple[int, Context] | None = None
# A forked child keeps its parent's clients alive: collecting them would close connections that the parent still uses.
_inherited: list[Context] = []
_lock = threading.Lock()


def _fresh_lock() -> None:
    global _lock  # noqa: PLW0603 (a thread of the parent may have held the old one, and is not in the child)
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_fresh_lock)


def install(factory: Callable[[], Context]) -> None:
    """Say how this process' context is to be built. Forgets one that was built before."""
    global _factory, _built
    _factory, _built = factory, None


def current() -> Context:
    """This process' context, built at the first call (a forked child builds its own)."""
    global _built  # noqa: PLW0603 (the one place where a process keeps its clients)
    with _lock:
        if _built is None or _built[0] != os.getpid():
            if _factory is None:
                raise RuntimeError("no context is installed: tasks run in a worker started by `python -m workers`")
            if _built is not None:
                _inherited.append(_built[1])
            _built = (os.getpid(), _factory())
        return _built[1]
