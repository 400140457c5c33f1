"""`python -m tests.bench [--quick] [FIGURE ...]`: measures, prints one table and writes one file.

The exit code is 0 whether or not targets are met (the table says so), 1 when a figure could not be measured.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.bench.group import Scale
from tests.bench.groups.all import GROUPS
from tests.bench.runner import choose, run
from workers.embedded import interruptible
from workers.logs import configure_logs
from workers.stackplan import ROOT


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Figures of speed, side by side.")
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help="figures or groups of them (default: all)")
    parser.add_argument("--quick", action="store_true", help="every figure on a smaller run")
    parser.add_argument("--list", action="store_true", help="name the figures and their groups, and measure nothing")
    parser.add_argument("--to", type=Path, default=ROOT / "var" / "bench.json", help="where the file is written")
    asked = parser.parse_args()
    if asked.list:
        for group in GROUPS:
            for row in group.rows:
                sys.stdout.write(f"{group.name:<10} {row.name:<30} {row.target!s:<14} {row.against}\n")
        return 0
    try:
        wanted = choose(GROUPS, asked.figures)
    except ValueError as error:
        parser.error(str(error))
    configure_logs("ERROR", "console")  # ours is the table
    began_at = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began_at:6.1f} s  {text}\n")

    def show(text: str) -> None:
        sys.stdout.write(f"{text}\n")

    with interruptible():
        return run(GROUPS, wanted, Scale(asked.quick), asked.to, say, show)


if __name__ == "__main__":
    sys.exit(main())
