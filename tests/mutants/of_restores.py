"""Without one of these a ledger that was put back from a copy has created again what was created since."""

from __future__ import annotations

from functools import partial
from typing import Final

import tasks.ending
import tasks.operating
from tasks.ledger import holding, jobs
from tests.mutants.mutant import Mutant, without
from tests.mutants.rewriting import rewrite_statement

_RESTORED: Final = (
    "tests/integration/test_restored.py::"
    "test_nothing_that_was_created_since_is_created_again_and_what_redis_knows_of_is_delivered[sqlite]"
)
_OF_HELD: Final = "tests/integration/test_held.py::"

RESTORES: Final = (
    Mutant(
        "policy-creates-what-is-held",
        "after a restore a policy creates anew what may have been created",
        without(jobs.doubtful, ", sa.not_(IS_HELD))", ")"),
        _OF_HELD + "test_no_policy_decides_it_also_where_redis_has_lost_its_task[sqlite]",
    ),
    Mutant(
        "queued-is-not-held",
        "after a restore what was queued is created all the same",
        partial(rewrite_statement, holding, "MAY_BE_CREATED", "State.QUEUED, ", ""),
        _RESTORED,
    ),
    Mutant(
        "admitted-is-not-held",
        "after a restore what was admitted is created all the same",
        partial(rewrite_statement, holding, "MAY_BE_CREATED", "State.ADMITTED, ", ""),
        _RESTORED,
    ),
    Mutant(
        "takes-up-what-is-not-held",
        "a job in doubt is given a task of the timetable, held or not",
        without(tasks.ending._taken_up, "not is_held(tx, job.id) or ", ""),
        _OF_HELD + "test_a_job_in_doubt_that_is_not_held_is_not_taken_up[sqlite]",
    ),
    Mutant(
        "takes-up-anothers-task",
        "a held job is given a task of the timetable, another's or not",
        without(tasks.ending._taken_up, " or owner_of_task(tx, task) is not None", ""),
        _OF_HELD + "test_another_jobs_task_is_not_taken_up[sqlite]",
    ),
    Mutant(
        "goes-past-the-timetable",
        "a held job is created anew although Redis has its task",
        without(tasks.operating._heed_timetable, "if noted is not None and", "if False and"),
        _OF_HELD + "test_nobody_goes_past_the_task_that_redis_has_of_it[anew-sqlite]",
    ),
)
