"""`python -m tests.model EXAMPLES STEPS`: the state machine so and so often; prints what came about."""

from __future__ import annotations

import sys
import time

from tests.model.machine import Machine
from tests.model.run import run


def main() -> int:
    examples, steps = (int(text) for text in sys.argv[1:3])
    begun_at = time.monotonic()
    run(examples, steps)
    seen = Machine.seen
    lines = [f"{name:>16} {count:>8,}" for name, count in sorted(seen.items())]
    figures = f"examples={seen['examples']} steps={steps} jobs={seen['jobs']} posts={seen['posts']}"
    lines.append(f"model: {figures} took_s={time.monotonic() - begun_at:.0f}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
