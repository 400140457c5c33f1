"""`python -m tests.model EXAMPLES STEPS`: the state machine so and so often; prints what came about."""

from __future__ import annotations

import argparse
import sys
import time

from tests.model.machine import Machine
from tests.model.run import run


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.model", description="Random orders of events, against a model."
    )
    parser.add_argument("examples", type=int, nargs="?", default=500)
    parser.add_argument("steps", type=int, nargs="?", default=50, help="events of each example, at most")
    asked = parser.parse_args()
    begun_at = time.monotonic()
    run(asked.examples, asked.steps)
    seen = Machine.seen
    lines = [f"{name:>16} {count:>8,}" for name, count in sorted(seen.items())]
    figures = f"examples={seen['examples']} steps={asked.steps} jobs={seen['jobs']} posts={seen['posts']}"
    lines.append(f"model: {figures} took_s={time.monotonic() - begun_at:.0f}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
