"""Sends traces of jobs to an OpenTelemetry collector. Owns that this never holds a job up, nor fails one.

The libraries (the extra `otel`) are looked for when the first trace is to be sent, and not imported before.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import structlog

from tasks.domain.spans import Trace

if TYPE_CHECKING:
    from .otel import Sender

log = structlog.get_logger("reelworks.traces")

_LAST_WORDS_S: Final = 2.0
"""For what waits to be sent at the end of a process; what takes longer is lost."""


def _by_environment() -> Sender:
    from .otel import Sender, exporter_by_environment  # not before there is something to send

    return Sender(exporter_by_environment())


class Traces:
    """Hands traces to a thread, which sends them in batches; what it has no room for is dropped, the oldest first.

    `build`: makes what sends them; by default to where the environment's `OTEL_...` variables say. May be used by
    several threads at once.
    """

    def __init__(self, build: Callable[[], Sender] = _by_environment) -> None:
        self._build = build
        self._sender: Sender | None = None
        self._is_off = False
        self._lock = threading.Lock()

    def send(self, traces: Sequence[Trace]) -> None:
        """Have these sent, or drop them. Raises nothing, and waits for nobody."""
        with self._lock:
            try:
                if (sender := self._open()) is not None:
                    for trace in traces:
                        sender.write(trace)
            except Exception:
                # Whatever a library makes of a trace is no affair of the job's.
                log.exception("trace_not_written", jobs=[trace.job_id for trace in traces])

    def close(self) -> None:
        """Send what waits, as far as that is done in a moment; nothing is sent any more."""
        with self._lock:
            sender, self._sender, self._is_off = self._sender, None, True
        if sender is not None:
            atexit.unregister(self.close)
            # The library waits for up to half a minute, whatever is set: longer than a worker may have.
            # https://github.com/open-telemetry/opentelemetry-python/issues/4623
            closing = threading.Thread(target=sender.close, name="traces-close", daemon=True)
            closing.start()
            closing.join(_LAST_WORDS_S)

    def _open(self) -> Sender | None:
        if self._sender is None and not self._is_off:
            try:
                self._sender = self._build()
            except ImportError:
                self._is_off = True
                log.warning("traces_off", reason="the packages of the extra otel are not installed")
            except Exception as error:  # noqa: BLE001 (the library's own; without its text, which can quote a header)
                self._is_off = True
                log.warning("traces_off", reason=f"a variable OTEL_... can't be used ({type(error).__name__})")
            else:
                atexit.register(self.close)
        return self._sender
