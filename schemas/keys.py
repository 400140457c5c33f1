"""The Redis keys that producers and workers share, and what stands under each.

Owns their names alone: it reads and writes nothing. Workers' own keys are in `tasks.pulse.keys`, built on these.
"""

from __future__ import annotations

import hashlib
from typing import Final

PREFIX: Final = "reelworks:"

REQUESTS: Final = f"{PREFIX}requests"
"""Stream of submitted requests. Fields: `v` (form, "1"), `job` (id), `request` (JSON, images as `input:` refs), and
`traceparent` where the request is part of a trace."""

ENQUEUE_QUEUE: Final = "reelworks"
"""List: queue of Celery messages of the task `reelworks.enqueue`, which ask for films."""

COMMANDS: Final = f"{PREFIX}commands"
"""Stream of what producers ask of jobs. Fields: `v` (form, "1"), `command` (`cancel`, `retry`), `job`, and of a retry
`anew` ("1" or "0"). The gateway puts in what the provider calls back: `command` (`called`), `token`, `task`."""

TURN_GAPS: Final = f"{PREFIX}turn_gaps"
"""Hash: tenant -> seconds from one of its turns to the next while it has jobs waiting."""

TIMETABLE: Final = f"{PREFIX}timetable"
"""Sorted set: generating job -> epoch seconds (Redis' clock) of the next look at it."""

LOOKS: Final = f"{PREFIX}looks"
"""Hash: generating job -> what the poll lane knows of it, a JSON list: polls, progress (0 to 1, or null), and more
that is the lane's own."""


def input_blob(sha256: str) -> str:
    """String: the raw bytes of an input image, by their SHA-256 (hex). Expires by itself."""
    return f"{PREFIX}input:{sha256}"


def idempotency(tenant: str, key: str) -> str:
    """String: fingerprint of the request first submitted under a tenant's idempotency key. Expires by itself."""
    return f"{PREFIX}idem:{tenant}:{hashlib.sha256(key.encode()).hexdigest()}"


def view(job_id: str) -> str:
    """String: the job's live view, which is Celery's result record; also the channel on which it is published."""
    return f"celery-task-meta-{job_id}"


def line(tenant: str) -> str:
    """Sorted set: a tenant's queued jobs, each with its place (epoch seconds; the lowest has the next turn)."""
    return f"{PREFIX}line:{tenant}"
