"""Runs a module under a clock that is off: `python -m tests.support.shifted SECONDS -m MODULE [ARGUMENT ...]`."""

from __future__ import annotations

import runpy
import sys
from datetime import UTC, datetime, timedelta

import time_machine

if __name__ == "__main__":
    shift_s, _, module, *arguments = sys.argv[1:]
    there = datetime.now(UTC) + timedelta(seconds=float(shift_s))
    time_machine.travel(there, tick=True).start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
