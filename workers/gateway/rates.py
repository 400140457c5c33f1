"""How many requests a tenant may make: smoothly, and after a pause some at once. Each process of the gateway allows its
share, by its own memory alone: no request waits for anybody to be counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

_AT_ONCE_S: Final = 10.0
"""After a pause as many requests are taken at once as fit into so many seconds."""
_KEPT: Final = 10_000
"""Tenants that are remembered; when there are more, those whose pause is over are forgotten."""


class Rates:
    """Counts by the time at which the requests so far would have come at an even pace."""

    def __init__(self, processes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._processes, self._clock = processes, clock
        self._even_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def wait_s(self, tenant: str, per_minute: float) -> float:
        """Take a request of a tenant: 0; or the seconds after which the next one will be taken."""
        gap_s = 60.0 * self._processes / per_minute
        now = self._clock()
        with self._lock:
            even_at = max(self._even_at.get(tenant, now), now)
            early_s = even_at - now - max(_AT_ONCE_S - gap_s, 0.0)
            if early_s > 0:
                return early_s
            self._even_at[tenant] = even_at + gap_s
            if len(self._even_at) > _KEPT:
                self._even_at = {name: at for name, at in self._even_at.items() if at > now}
        return 0.0
