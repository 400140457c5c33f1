"""Without one of these what a provider task cost is charged twice, or not at all."""

from __future__ import annotations

from typing import Final

import tasks.answering
import tasks.ending
import tasks.operating
import tasks.settling
from tasks.ledger import money
from tests.mutants.mutant import Mutant, without

_OPERATING: Final = "tests/integration/test_operating.py::"
_LEDGER: Final = "tests/integration/test_ledger.py::"
_GUARDS: Final = "tests/integration/test_guards.py::"

CHARGES: Final = (
    Mutant(
        "charge-each-time",
        "a charge has a key of its own each time",
        without(
            money.charge,
            '"provider_task_id": job.provider_task_id,',
            '"provider_task_id": f"{job.provider_task_id}#{uuid.uuid4()}",',
        ),
        _LEDGER + "test_a_provider_task_is_charged_once_however_often_it_is_recorded[sqlite]",
    ),
    Mutant(
        "strays-not-settled",
        "nobody asks what a provider task cost that no job follows",
        without(tasks.settling.settle_strays, "due = strays(tx, limit)", "due = []"),
        _OPERATING + "TestUncertain::test_created_anew_both_tasks_are_paid_for_when_the_first_turns_up[sqlite]",
    ),
    Mutant(
        "cancel-forgets-the-cost",
        "a finished film that nobody wants is not charged",
        without(tasks.operating.cancel, "charge_task(tx, job, answer.usage, answer.metadata)", "pass"),
        _OPERATING + "TestCancel::test_a_finished_film_that_nobody_wants_is_charged_and_left[sqlite]",
    ),
    Mutant(
        "cancelled-look-forgets-the-cost",
        "a cancelled job whose provider task ends is not charged",
        without(
            tasks.ending._write,
            "event = Event.CANCEL\n            charges.append(_Charge(job, answer.usage, answer.metadata))",
            "event = Event.CANCEL",
        ),
        _OPERATING + "TestCancel::test_a_generating_job_is_followed_to_its_end_charged_and_not_delivered[sqlite]",
    ),
    Mutant(
        "settles-without-taking-back",
        "what was charged as a guess stays when the task comes to light",
        without(
            money.settled,
            "take_back_estimate(tx, attempt_id)",
            "pass",
        ),
        _OPERATING
        + "TestUncertain::test_an_id_that_comes_after_the_write_off_replaces_the_estimate_by_the_price[sqlite]",
    ),
    Mutant(
        "binds-without-taking-back",
        "what was charged as a guess stays when a job is given its task late",
        without(tasks.answering.commit_answer, "take_back_estimate(tx, answer.attempt_id)", "pass"),
        _GUARDS + "test_what_was_written_off_is_not_charged_beside_the_answer_that_comes_late[sqlite-answer0]",
    ),
)
