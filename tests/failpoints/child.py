"""A process of its own that does one thing to a job of a running stack, and dies where its environment says.

`python -m tests.failpoints.child cancel JOB`. All else creates an admitted job in a way that a worker seldom comes by:
`spool` while the ledger takes no answer, `give_back` while it takes no attempt, `refuse` with a request that cannot be
read any more, `back` without the job's key, and `stray` with an answer that comes after the job was written off.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

import tasks.create
from schemas.errors import RequestInvalid
from tasks import context, operating, sweep
from tasks.answering import commit_answer
from tasks.context import Context
from tasks.domain.creating import Answer
from tasks.domain.job import Job
from tasks.ledger.jobs import get
from workers.app import app  # installs the context of this process


def _refused(*_: Any) -> None:
    raise sa.exc.OperationalError("UPDATE", {}, Exception("database is locked"))


def _unreadable(*_: Any, **__: Any) -> None:
    raise RequestInvalid(())


def _late(ctx: Context, answer: Answer, begun: Job | None = None) -> Job | None:
    with ctx.ledger.read() as tx:
        job = get(tx, answer.job_id)
    assert job is not None
    sweep._park(ctx, job)
    operating.write_off(ctx, job.id, None)
    return commit_answer(ctx, answer, begun)


def main() -> int:
    what, job_id = sys.argv[1:]
    app.loader.import_default_modules()
    if what == "cancel":
        operating.cancel(context.current(), job_id)
        return 0
    match what:
        case "spool":
            tasks.create.commit_answer = _refused
        case "give_back":
            tasks.create.begin_attempt = _refused
        case "refuse":
            tasks.create.parse_request = _unreadable
        case "back":
            keyless = replace(context.current(), providers={})
            context.current = lambda: keyless
        case "stray":
            tasks.create.commit_answer = _late
        case _:
            raise ValueError(f"no such thing to do: {what}")
    tasks.create.create(job_id)
    return 0


if __name__ == "__main__":
    sys.exit(main())
