"""Flower's settings: what its pages show of a task, for how long, and to whom. It is a view and keeps no record.

Flower runs this file and takes the names it knows; the command line (`--address`, `--port`, ...) has the last word.
"""

from __future__ import annotations

import ast
import os
import secrets
from pathlib import Path
from typing import Protocol

# For looking only, and from this machine alone unless `--address` says otherwise. Where whoever has the login may stop
# workers too, `--read_only=False` brings back the buttons.
address = "127.0.0.1"
read_only = True


def _logins() -> list[str]:
    """Who is let in, as user:password. Without a login nobody can be: forgetting it must not open the door."""
    if os.environ.get("REELWORKS_FLOWER_NO_LOGIN"):  # set by `python -m workers flower --no-login` alone
        return []
    file = os.environ.get("REELWORKS_FLOWER_LOGIN_FILE")
    login = Path(file).read_text().strip() if file else os.environ.get("REELWORKS_FLOWER_LOGIN", "").strip()
    return [login or f"nobody:{secrets.token_urlsafe(32)}"]


# With it, FLOWER_UNAUTHENTICATED_API opens nothing. /metrics and /healthcheck answer without a login all the same: they
# hold counts by task and worker name, no job.
basic_auth = _logins()

max_tasks = 20_000
purge_offline_workers = 300  # seconds
natural_time = True
tasks_columns = "name,state,kwargs,exception,received,started,runtime,worker,uuid"

# Ids and numbers by which people look for a job. Whatever else a message may ever carry is not for a web page.
_SHOWN = ("job", "more", "lane", "model", "seconds", "resolution")
_LONGEST = 80
_MOST = 16  # other jobs that a message names
_LONGEST_KWARGS = 2_000


class _Task(Protocol):
    args: object
    kwargs: object
    result: object


def format_task(task: _Task) -> _Task:
    """Reduce a task (a copy, made by Flower) to what may be shown.

    `kwargs` becomes `job=..., more=... ..., model=..., seconds=6, resolution=768P`, as far as it has them; arguments by
    position and results are blanked. Never raises: Flower would then show the task as it came.
    """
    task.args = ""
    task.kwargs = _shown(getattr(task, "kwargs", None))
    task.result = ""
    return task


def _shown(text: object) -> str:
    if not isinstance(text, str) or len(text) > _LONGEST_KWARGS:
        return ""
    try:
        kwargs = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return ""
    if not isinstance(kwargs, dict):
        return ""
    found = {name: _plain(kwargs.get(name)) for name in _SHOWN}
    return ", ".join(f"{name}={text}" for name, text in found.items() if text)


def _plain(value: object) -> str:
    values = value[:_MOST] if isinstance(value, list) else [value]
    return " ".join(str(each) for each in values if isinstance(each, str | int | float) and len(str(each)) <= _LONGEST)
