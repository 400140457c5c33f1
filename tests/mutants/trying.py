"""Runs a mutant's test with and without the guard, each in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutants.mutant import Mutant

ROOT: Final = Path(__file__).resolve().parents[2]
_PASSED, _FAILED = 0, 1


@dataclass(frozen=True)
class Run:
    """How a pytest ended; anything but passed and failed means that it did not come to the test."""

    status: int
    output: str

    @property
    def passed(self) -> bool:
        return self.status == _PASSED

    @property
    def caught(self) -> bool:
        # An error is no catch: a mutant that can't even be set up proves nothing.
        return self.status == _FAILED and " failed" in self.output and " error" not in self.output.splitlines()[-1]


def run(nodes: Sequence[str], mutant: Mutant | None = None) -> Run:
    """The tests of these ids with a mutant applied, or with the product as it is."""
    with_mutant = [] if mutant is None else ["--mutant", mutant.name]
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider"]
    command += ["-p", "tests.mutants.plugin", *with_mutant, *nodes]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    return Run(done.returncode, (done.stdout + done.stderr).strip())


def verdict(mutant: Mutant) -> str | None:
    """What is wrong with a mutant's test; `None` when it fails with the mutant, as it should."""
    found = run([mutant.caught_by], mutant)
    if found.caught:
        return None
    return "SURVIVED" if found.passed else f"could not be tried (pytest ended with {found.status}):\n{found.output}"
