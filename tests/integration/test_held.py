"""Jobs that are held since the ledger was restored, and what Redis' timetable still has of them: the tasks that were
created for them meanwhile are neither lost nor given to others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from click.testing import Result
from structlog.testing import capture_logs

from schemas.jobs import State
from tasks import operating
from tasks.domain.budgets import Budget, Period, WhenUsedUp
from tasks.domain.doubt import DoubtPolicy
from tasks.ledger import tables
from tasks.ledger.money import UNKNOWN_KEY
from tasks.ledger.spending import set_budget
from tasks.pulse.timetable import Entry
from tasks.restoring import hold
from tests.support.bench import DONE, Bench
from tests.support.situations import amounts, uncertain, with_policy
from workers.cli.exits import FAILED

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def noted(bench: Bench, job_id: str, task: str) -> None:
    """Redis knows from before the restore that the provider has this task for a job."""
    assert bench.ctx.pulse.timetable.schedule([Entry(job_id, 0, task, "main", datetime.now(UTC))])


def held(bench: Bench, task: str | None) -> str:
    """A job that the ledger's copy knew as queued, and that was created as `task` since."""
    job_id = bench.submit()
    assert hold(bench.ctx.ledger, None) == {State.QUEUED: 1}
    if task is not None:
        noted(bench, job_id, task)
    return job_id


def looked_at(bench: Bench) -> list[tuple[str, str]]:
    """What is logged of tasks that no job has, while everything on the timetable is found to have ended."""
    bench.provider.polls.append(DONE)
    with capture_logs() as logged:
        bench.look()
    return [(line["job_id"], line["provider_task_id"]) for line in logged if line["event"] == "task_of_no_job"]


@pytest.mark.parametrize(
    "words",
    [["anew"], ["write-off", "--unpaid"], ["write-off", "--paid", "0.28"], ["bind", "task-other"]],
    ids=" ".join,
)
def test_nobody_goes_past_the_task_that_redis_has_of_it(
    bench: Bench, said: Callable[..., Result], words: list[str]
) -> None:
    job_id = held(bench, "task-since")
    refused = said("uncertain", words[0], job_id, *words[1:], code=FAILED).output
    assert "task task-since of key main" in refused
    assert bench.state(job_id) is State.UNCERTAIN
    assert looked_at(bench) == []
    assert bench.state(job_id) is State.DOWNLOADING, "and it is taken up by itself"


def test_that_task_may_be_bound_before_it_has_ended(bench: Bench) -> None:
    job_id = held(bench, "task-since")
    assert operating.bind(bench.ctx, job_id, "task-since").state is State.GENERATING
    assert looked_at(bench) == []
    assert bench.state(job_id) is State.DOWNLOADING


def test_one_that_redis_has_no_task_of_is_a_persons_to_decide(bench: Bench) -> None:
    assert operating.write_off(bench.ctx, held(bench, None), None).state is State.FAILED
    assert operating.create_anew(bench.ctx, held(bench, None)).state is State.QUEUED


def test_no_policy_decides_it_also_where_redis_has_lost_its_task(bench: Bench) -> None:
    bench = with_policy(bench, uncertain=DoubtPolicy(retry_after_s=0, max_extra=9))
    job_id = held(bench, None)
    bench.turn("sweep")
    assert bench.state(job_id) is State.UNCERTAIN


def test_one_whose_key_nobody_knows_can_be_written_off_as_paid(bench: Bench) -> None:
    assert operating.write_off(bench.ctx, held(bench, None), Decimal("0.28")).state is State.FAILED
    (charge,) = bench.rows(tables.charges)
    assert (charge.amount_usd, charge.key_alias, charge.estimated) == (Decimal("0.28"), UNKNOWN_KEY, True)


def test_a_task_that_its_job_has_gone_on_without_is_told(bench: Bench) -> None:
    """Redis was away, or had lost it and came back: whatever the way, who reads the log can book it."""
    job_id = held(bench, None)
    operating.write_off(bench.ctx, job_id, None)
    noted(bench, job_id, "task-since")
    assert looked_at(bench) == [(job_id, "task-since")]
    assert amounts(bench) == {}


def test_what_is_held_for_it_has_others_wait_and_not_fail(bench: Bench) -> None:
    with bench.ctx.ledger.begin() as tx:
        set_budget(tx, Budget("default", Period.DAY, Decimal("0.5"), WhenUsedUp.REFUSE))
    doubtful, waiting = held(bench, None), bench.submit()
    bench.turn("admit")
    assert bench.state(waiting) is State.QUEUED, "what it would be refused for may come back"
    operating.write_off(bench.ctx, doubtful, Decimal("0.28"))
    bench.turn("admit")
    assert bench.state(waiting) is State.FAILED, "now it is known that nothing is left"


def test_another_jobs_task_is_not_taken_up(bench: Bench) -> None:
    owner = bench.generating()
    (task,) = (row.provider_task_id for row in bench.rows(tables.jobs))
    bench.ctx.pulse.timetable.drop([owner])
    job_id = held(bench, task)
    assert looked_at(bench) == []
    assert bench.provider.polled == [task]
    assert (bench.state(job_id), bench.state(owner)) == (State.UNCERTAIN, State.GENERATING)


def test_a_job_in_doubt_that_is_not_held_is_not_taken_up(bench: Bench) -> None:
    """Of its create nothing was lost but the answer: a task of the timetable can't be of it."""
    job_id = uncertain(bench)
    noted(bench, job_id, "task-of-whom")
    assert looked_at(bench) == [(job_id, "task-of-whom")]
    assert bench.state(job_id) is State.UNCERTAIN
