"""The operator of a run of deaths: says what became of creates in doubt, by what the provider's witness says."""

from __future__ import annotations

from schemas.jobs import State
from tasks import operating
from tests.failpoints.stack import Stack
from tests.support.waiting import wait_until


def resolve(stack: Stack) -> None:
    """Bind what the provider has to the jobs in doubt, and write the others off."""
    books = stack.books()
    named = {row.provider_task_id for row in books.attempts}
    uncertain = [job_id for job_id, state in books.states.items() if state is State.UNCERTAIN]
    for job_id in uncertain:
        unnamed = [task for task in books.created.get(job_id, ()) if task not in named]
        if unnamed:
            wait_until(lambda: _bound(stack, job_id, unnamed[0]), within_s=60, what="binding what there is")  # noqa: B023
        else:
            operating.write_off(stack.ctx, job_id, None)
            stack.ends[job_id] |= {State.FAILED}


def _bound(stack: Stack, job_id: str, task: str) -> bool:
    """Not while the provider takes too long to answer."""
    try:
        operating.bind(stack.ctx, job_id, task)
    except operating.NotPossible as error:
        if "try again" not in str(error):
            raise
        return False
    return True
