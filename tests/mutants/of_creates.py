"""Without one of these a create is sent twice, or what came of it is lost."""

from __future__ import annotations

from typing import Final

import tasks.answering
import tasks.create
import tasks.sweep
from tasks.ledger import money
from tests.mutants.mutant import Mutant, all_of, without

_STEPS: Final = "tests/integration/test_steps.py::"
_RESCUE: Final = "tests/integration/test_rescue.py::"
_LATE_WORKERS: Final = "tests/integration/test_late_workers.py::"
_HELD: Final = "globals().setdefault('_held', {})"

CREATES: Final = (
    Mutant(
        "attempt-after-answer",
        "the attempt is written after the answer, not before the request",
        all_of(
            without(money.begin_attempt, "tx.execute(_BEGIN, {**row", f"{_HELD}.__setitem__(attempt_id, {{**row"),
            without(
                money.end_attempt,
                "    begun_at: datetime | None = tx.execute(",
                f"    if attempt_id in {_HELD}:\n"
                f"        tx.execute(_BEGIN, {_HELD}.pop(attempt_id))\n"
                "    begun_at: datetime | None = tx.execute(",
            ),
        ),
        _STEPS + "TestCreate::test_the_attempt_is_committed_before_the_provider_is_asked[sqlite]",
    ),
    Mutant(
        "retry-on-time-out",
        "a create of unknown outcome is sent again at once",
        without(
            tasks.create._ask,
            "    outcome = provider.create(body)\n",
            "    outcome = provider.create(body)\n"
            "    if isinstance(outcome, Unknown):\n        outcome = provider.create(body)\n",
        ),
        _STEPS + "TestCreate::test_an_unknown_outcome_is_parked_with_its_evidence_and_never_repeated[sqlite]",
    ),
    Mutant(
        "create-under-way-queued-again",
        "who lacks a key queues a job whose create is under way",
        without(
            tasks.create._back,
            "move_read(tx, job, Event.UNSENT, mine=_is_claimed(job)",
            "move_read(tx, get(tx, job.id), Event.UNSENT",
        ),
        _LATE_WORKERS + "test_a_worker_that_can_not_create_a_job_takes_it_from_nobody_who_can"
        "[sqlite-without the key-unknown]",
    ),
    Mutant(
        "lost-create-queued-again",
        "a create whose worker is gone counts as not sent",
        without(tasks.sweep._park, "Event.UNKNOWN,\n            lease_s=ctx.policy.handover_s,", "Event.UNSENT,"),
        _STEPS + "TestCreate::test_a_worker_that_dies_during_a_create_leaves_an_uncertain_job[sqlite]",
    ),
    Mutant(
        "unsent-not-spooled",
        "where the word of its commit is lost, an attempt that sent nothing stays in doubt",
        without(tasks.create._begin, "if begun is not None and attempt_id is not None:", "if False:"),
        _RESCUE + "TestLateAnswers::"
        "test_an_attempt_of_which_no_word_came_back_is_known_to_have_sent_nothing[sqlite-True]",
    ),
    Mutant(
        "sent-late",
        "a worker that slept after its commit sends all the same",
        without(tasks.create._ask, "if time.monotonic() > send_by:", "if False:"),
        _RESCUE + "TestLateAnswers::test_a_worker_that_slept_after_its_commit_sends_nothing[sqlite]",
    ),
    Mutant(
        "late-answer-ignored",
        "an answer that comes after its job was parked is dropped",
        without(
            tasks.answering.commit_answer,
            "if latest_attempt(tx, answer.job_id) == answer.attempt_id else",
            "if (job := get(tx, answer.job_id)) is not None and job.state is State.CREATING else",
        ),
        _STEPS + "TestCreate::test_an_answer_that_comes_after_the_job_was_parked_is_still_bound[sqlite]",
    ),
    Mutant(
        "answer-not-spooled",
        "an answer that the database cannot take is gone",
        without(tasks.create._spooled, "ctx.spool.keep(answer.attempt_id, answer.to_json())", "pass"),
        _RESCUE + "TestLateAnswers::test_an_answer_that_the_ledger_can_not_take_is_spooled_and_replayed[sqlite]",
    ),
)
