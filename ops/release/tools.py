"""Runs the tools that build something, in this Python's environment. Refuses to go on after one that failed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_TIMEOUT_S: Final = 300.0
_SAID: Final = 500
"""How much of what a tool said last is passed on, in characters."""


class ToolFailed(Exception):
    """What it was to make is not there, or not whole; the message has what it said last."""


def run(module: str, *words: str, folder: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a module as `python -m` does, in `folder`, with `env` beside this environment. Raises ToolFailed."""
    ended = subprocess.run(  # noqa: S603 (this Python, on files of this checkout)
        [sys.executable, "-m", module, *words],
        cwd=folder,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if ended.returncode:
        raise ToolFailed(f"{module} ended with exit code {ended.returncode}: {ended.stderr.strip()[-_SAID:]}")
