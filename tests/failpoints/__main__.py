"""`python -m tests.failpoints RUNS [PLACE ...]`: every place, so many deaths each, as a table and a closing line."""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from pathlib import Path

import structlog

from tests.failpoints.run import prove


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    runs, only = int(sys.argv[1]), sys.argv[2:]
    begun_at = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="reelworks-failpoints-") as folder:
        proof = prove(Path(folder), runs, only or None, say)
    say(f"took {time.monotonic() - begun_at:.0f} s")
    say(proof.closing_line)
    return 0 if proof.holds else 1


if __name__ == "__main__":
    sys.exit(main())
