"""The operator of a run: cancels jobs on the way, and at the end resolves what is uncertain and retries what failed.

What the provider has stands in its bill; the witness says for which job. So every uncertain job has one answer.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import sqlalchemy as sa

from schemas.jobs import State
from tasks import operating
from tasks.context import Context
from tasks.ledger import LedgerError
from tasks.ledger.tables import attempts, jobs
from tasks.operating import NotPossible
from workers import runtime
from workers.logs import configure_logs
from workers.settings import read_settings

_AGAIN: Final = (State.DOWNLOADING, State.ADMITTED)


def cancel(context: Context, job_id: str) -> bool:
    """Cancel a job; false when it was too late for that, or the database was away."""
    try:
        operating.cancel(context, job_id)
    except (NotPossible, LedgerError):
        return False
    return True


class Operator:
    """Resolves what waits for a person. `marks`: the mark of each job, by its id."""

    def __init__(self, context: Context, marks: Mapping[str, str]) -> None:
        self._context, self._marks = context, marks
        self.bound: list[str] = []
        self.written_off: list[str] = []
        self.created_anew: list[str] = []
        self.retried: list[str] = []

    def resolve(self, tasks_by_mark: Mapping[str, Sequence[str]], *, anew: bool) -> int:
        """Resolve every uncertain and every failed job that can go on; gives how many there were.

        `anew`: whether every second job of which the provider has nothing is created anew, instead of given up.
        """
        with self._context.ledger.read() as tx:
            found = tx.execute(
                sa.select(jobs.c.id, jobs.c.state, jobs.c.error_stage, jobs.c.cancel_requested_at).where(
                    jobs.c.state.in_([State.UNCERTAIN, State.FAILED])
                )
            ).all()
            rows = tx.execute(sa.select(attempts.c.provider_task_id).where(attempts.c.provider_task_id.is_not(None)))
            named = set(rows.scalars())
        waiting = 0
        for job in found:
            if job.state == State.UNCERTAIN:
                unnamed = [task for task in tasks_by_mark.get(self._marks[job.id], ()) if task not in named]
                waiting += 1
                self._settle(job.id, unnamed, anew=anew and job.cancel_requested_at is None)
            elif job.error_stage in _AGAIN and job.id not in self.retried:
                waiting += 1
                self._retry(job.id)
        return waiting

    def _settle(self, job_id: str, unnamed: Sequence[str], *, anew: bool) -> None:
        with suppress(NotPossible):  # it still waits in the next round
            if unnamed:
                operating.bind(self._context, job_id, unnamed[0])
                self.bound.append(job_id)
            elif anew and int(self._marks[job_id][-1]) % 2:
                operating.create_anew(self._context, job_id)
                self.created_anew.append(job_id)
            else:
                operating.write_off(self._context, job_id, None)
                self.written_off.append(job_id)

    def _retry(self, job_id: str) -> None:
        self.retried.append(job_id)
        with suppress(NotPossible):
            operating.retry(self._context, job_id)


def main(job_id: str) -> int:
    """Cancel one job in a process of its own, which a fuse may end."""
    configure_logs("ERROR", "console")
    return 0 if cancel(runtime.build(read_settings()), job_id) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
