"""The rivals' own virtual environment: their packages want versions that clash with the project's."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from workers.stackplan import ROOT

LOCK = Path(__file__).with_name("rivals.lock")
VENV = ROOT / ".venv-rivals"
_STAMP = VENV / ".installed"


class RivalsMissing(Exception):
    """The environment could not be made; says why. Reaction: their figures stand in the table without a value."""


def interpreter() -> Path:
    """The interpreter of the environment, which is made from the lock file where it is not there or not up to date.

    Raises `RivalsMissing`.
    """
    python = VENV / "bin" / "python"
    locked = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if python.exists() and _STAMP.exists() and _STAMP.read_text() == locked:
        return python
    try:
        _run([sys.executable, "-m", "venv", "--clear", str(VENV)], within_s=120)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--require-hashes", "-r", str(LOCK)], within_s=300)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        last = (str(said).strip().splitlines() or ["no reason was given"])[-1]
        raise RivalsMissing(f"the rivals could not be installed: {last[:200]}") from None
    _STAMP.write_text(locked)
    return python


def call(python: Path | str, module: str, *arguments: str) -> list[str]:
    """The command line that calls a module's `main`, under the name by which workers know the module's tasks too."""
    return [str(python), "-c", f"from {module} import main; main()", *arguments]


def _run(argv: list[str], *, within_s: float) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True, timeout=within_s)
