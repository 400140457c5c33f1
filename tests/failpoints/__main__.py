"""`python -m tests.failpoints [RUNS] [PLACE ...] [--database=...]`: every place, so many deaths each, and a table."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

import structlog

from tasks.failpoints import FAILPOINTS
from tests.failpoints.run import prove
from tests.failpoints.starting import DATABASES


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    parser = argparse.ArgumentParser(prog="python -m tests.failpoints", description="A death at every named place.")
    parser.add_argument("runs", type=int, nargs="?", default=20, help="deaths at each place")
    parser.add_argument("places", nargs="*", metavar="PLACE", help="only these; without any, all")
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    asked = parser.parse_args()
    if strangers := sorted(set(asked.places) - FAILPOINTS):
        parser.error(f"no such place: {', '.join(strangers)}")  # else it would be waited for in vain
    begun_at = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="reelworks-failpoints-") as folder:
        proof = prove(Path(folder), asked.runs, asked.places or None, say, asked.database)
    say(f"took {time.monotonic() - begun_at:.0f} s")
    say(proof.closing_line)
    return 0 if proof.holds else 1


if __name__ == "__main__":
    sys.exit(main())
