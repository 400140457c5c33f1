"""A process of its own that does one thing to a job of a running stack, and dies where its environment says.

`python -m tests.failpoints.child cancel JOB`, or `spool JOB`: create it while the ledger takes no answer.
"""

from __future__ import annotations

import sys
from typing import Any

import sqlalchemy as sa

import tasks.create
from tasks import context, operating
from workers.app import app  # installs the context of this process


def _refused(*_: Any) -> None:
    raise sa.exc.OperationalError("UPDATE", {}, Exception("database is locked"))


def main() -> int:
    what, job_id = sys.argv[1:]
    app.loader.import_default_modules()
    if what == "cancel":
        operating.cancel(context.current(), job_id)
        return 0
    tasks.create.commit_answer = _refused
    tasks.create.create(job_id)
    return 0


if __name__ == "__main__":
    sys.exit(main())
