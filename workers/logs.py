"""Logs: one JSON object a line on standard error, with static event names and fields.

No prompt, image, signed URL or key is ever a field.
Libraries that log through the standard library come out in the same form; those that log URLs are kept quiet.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any, Final

import structlog

# They log every request's URL or every task's arguments at INFO or DEBUG.
_QUIET: Final = (
    "alembic",
    "urllib3",
    "requests",
    "celery.worker.strategy",
    "celery.app.trace",
    "kombu",
    "PIL",
    "libav",
    "asyncio",
)


def configure_logs(level: str, form: str) -> None:
    """Set up logging for this process: `level` is a name such as "INFO", `form` is "json" or "console"."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    render = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def bind_job(task: str | None, job_id: str | None, more: Sequence[str] | None = None) -> None:
    """Have every line that this thread logs from now on name the task and its job; `None` leaves a name out.

    `more`: the other jobs of the same message; then lines name all of them as `jobs`.
    """
    structlog.contextvars.clear_contextvars()
    named = {"task": task, **({"jobs": [job_id, *more]} if more else {"job_id": job_id})}
    structlog.contextvars.bind_contextvars(**{name: value for name, value in named.items() if value is not None})
