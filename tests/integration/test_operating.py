"""What people and policies do with jobs that are in doubt, have failed or are not wanted, on both databases."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from schemas.jobs import State
from tasks import answering, operating
from tasks.create import create
from tasks.domain.answers import (
    Accepted,
    Completed,
    Failed,
    LookAgain,
    NotFound,
    PollAnswer,
    Rejected,
    Running,
    Unknown,
    Unsent,
    Usage,
)
from tasks.domain.creating import Answer, judge
from tasks.domain.doubt import DoubtPolicy
from tasks.domain.polling import PollPolicy
from tasks.finish import download, record
from tasks.ledger import tables
from tasks.operating import NotPossible
from tests.support.bench import DONE, MODEL, Bench
from tests.support.situations import FILM, OUTPUT, amounts, downloading, failed_download, uncertain, with_policy


class TestCancel:
    def test_what_was_never_sent_is_cancelled_at_once_and_free(self, bench: Bench) -> None:
        queued, admitted = bench.submit(), bench.submit(priority=9)
        bench = with_policy(bench, open_tasks_per_key=1)
        bench.turn("admit")
        for job_id in (queued, admitted):
            assert operating.cancel(bench.ctx, job_id).state is State.CANCELLED
        create(admitted)  # its message comes late
        assert bench.provider.created == []
        assert amounts(bench) == {}

    def test_a_generating_job_is_followed_to_its_end_charged_and_not_delivered(self, bench: Bench) -> None:
        job_id = bench.generating()
        assert operating.cancel(bench.ctx, job_id).state is State.GENERATING
        bench.look()  # in progress
        bench.provider.polls.append(FILM)
        bench.look()
        assert bench.state(job_id) is State.CANCELLED
        assert amounts(bench) == {"task-1": Decimal("0.28")}
        assert bench.messages("finish") == 0

    def test_a_cancelled_job_that_fails_at_the_provider_ends_cancelled_and_costs_what_it_says(
        self, bench: Bench
    ) -> None:
        job_id = bench.generating()
        operating.cancel(bench.ctx, job_id)
        bench.provider.polls.append(Failed("1027", "no", Usage(Decimal("0.05"))))
        bench.look()
        assert bench.state(job_id) is State.CANCELLED
        assert amounts(bench) == {"task-1": Decimal("0.05")}

    def test_a_finished_film_that_nobody_wants_is_charged_and_left(self, bench: Bench) -> None:
        job_id = downloading(bench)
        assert operating.cancel(bench.ctx, job_id).state is State.CANCELLED
        download(job_id)
        record(job_id)
        assert bench.state(job_id) is State.CANCELLED
        assert amounts(bench) == {"task-1": Decimal("0.28")}
        assert bench.rows(tables.outputs) == []

    def test_a_wish_that_comes_while_the_last_look_is_written_still_counts(self, bench: Bench) -> None:
        job_id = downloading(bench)
        with bench.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.jobs).values(cancel_requested_at=tx.now))
        download(job_id)
        assert bench.state(job_id) is State.CANCELLED
        assert amounts(bench) == {"task-1": Decimal("0.28")}

    def test_a_create_that_turns_out_unsent_is_not_queued_again(self, bench: Bench) -> None:
        job_id = bench.submit()
        bench.turn("admit")

        class CancelsMeanwhile(list[Any]):
            def pop(self, *_: Any) -> Any:
                operating.cancel(bench.ctx, job_id)
                return Unsent("ConnectionRefused")

        bench.provider.creates = CancelsMeanwhile([None])
        create(job_id)
        assert bench.state(job_id) is State.CANCELLED

    def test_what_has_ended_can_not_be_cancelled(self, bench: Bench) -> None:
        job_id = bench.submit()
        operating.cancel(bench.ctx, job_id)
        with pytest.raises(NotPossible, match="ended already"):
            operating.cancel(bench.ctx, job_id)


class TestUncertain:
    @pytest.mark.parametrize("known", [Running(0.2), FILM, Failed("1027", "no")])
    def test_a_task_that_the_provider_knows_is_bound_and_goes_on(self, bench: Bench, known: PollAnswer) -> None:
        job_id = uncertain(bench)
        bench.provider.polls.append(known)
        assert operating.bind(bench.ctx, job_id, "found-1").state is State.GENERATING
        bench.turn("sweep")  # puts it on the timetable
        bench.provider.polls.append(FILM)
        bench.look()
        assert bench.state(job_id) is State.DOWNLOADING
        assert [row.provider_task_id for row in bench.rows(tables.attempts)] == ["found-1"]
        assert len(bench.provider.created) == 1

    @pytest.mark.parametrize(
        ("answer", "sentence"), [(NotFound(), "knows no task"), (LookAgain("HTTP 500"), "did not say")]
    )
    def test_a_task_that_the_provider_does_not_confirm_is_not_bound(
        self, bench: Bench, answer: PollAnswer, sentence: str
    ) -> None:
        job_id = uncertain(bench)
        bench.provider.polls.append(answer)
        with pytest.raises(NotPossible, match=sentence):
            operating.bind(bench.ctx, job_id, "found-1")
        assert bench.state(job_id) is State.UNCERTAIN

    def test_another_jobs_task_is_not_bound(self, bench: Bench) -> None:
        other = bench.generating()
        job_id = uncertain(bench)
        with pytest.raises(NotPossible, match=f"that of job {other}"):
            operating.bind(bench.ctx, job_id, "task-1")

    def test_a_task_that_was_charged_to_a_job_that_is_not_kept_is_not_bound(self, bench: Bench) -> None:
        """It has its one charge: the job would be completed with another's film, and what it cost itself be booked
        nowhere."""
        job_id = uncertain(bench)
        with bench.ctx.ledger.begin() as tx:
            values = {"tenant": "film", "model": MODEL, "key_alias": "main", "estimated": False, "charged_at": tx.now}
            values |= {"provider_task_id": "task-7", "pruned_job_id": "gone", "amount_usd": Decimal("0.28")}
            tx.execute(sa.insert(tables.charges).values(usage={}, metadata={}, **values))
        bench.provider.polls.append(FILM)
        with pytest.raises(NotPossible, match="was charged to a job that is not kept any more"):
            operating.bind(bench.ctx, job_id, "task-7")
        assert bench.state(job_id) is State.UNCERTAIN

    def test_written_off_as_paid_it_is_charged_as_an_estimate_and_as_unpaid_not_at_all(self, bench: Bench) -> None:
        paid, unpaid = uncertain(bench), uncertain(bench)
        assert operating.write_off(bench.ctx, paid, Decimal("0.30")).state is State.FAILED
        assert operating.write_off(bench.ctx, unpaid, None).state is State.FAILED
        (charge,) = bench.rows(tables.charges)
        assert (charge.job_id, charge.amount_usd, charge.estimated) == (paid, Decimal("0.30"), True)

    def test_an_id_that_comes_after_the_write_off_replaces_the_estimate_by_the_price(self, bench: Bench) -> None:
        job_id = uncertain(bench)
        (attempt,) = bench.rows(tables.attempts)
        operating.write_off(bench.ctx, job_id, Decimal("0.30"))
        late = Answer(job_id, attempt.id, "main", judge(Accepted("late-1"), 1, 1))
        assert answering.commit_answer(bench.ctx, late) is None
        self._let_strays_fall_due(bench)
        bench.provider.polls.append(FILM)
        bench.turn("sweep")
        assert amounts(bench) == {"late-1": Decimal("0.28")}
        assert bench.state(job_id) is State.FAILED

    @staticmethod
    def _let_strays_fall_due(bench: Bench) -> None:
        with bench.ctx.ledger.begin() as tx:
            table = tables.attempts
            past = tx.now - timedelta(seconds=1)
            tx.execute(sa.update(table).where(table.c.settle_at.is_not(None)).values(settle_at=past))

    def test_created_anew_both_tasks_are_paid_for_when_the_first_turns_up(self, bench: Bench) -> None:
        job_id = uncertain(bench)
        (first,) = bench.rows(tables.attempts)
        assert operating.create_anew(bench.ctx, job_id).state is State.QUEUED
        bench.turn("admit")
        create(job_id)
        assert bench.state(job_id) is State.GENERATING
        answering.commit_answer(bench.ctx, Answer(job_id, first.id, "main", judge(Accepted("late-1"), 1, 1)))
        self._let_strays_fall_due(bench)
        bench.provider.polls += [Running(0.4)]
        bench.turn("sweep")
        assert amounts(bench) == {}
        self._let_strays_fall_due(bench)
        bench.provider.polls += [FILM]
        bench.turn("sweep")
        assert amounts(bench) == {"late-1": Decimal("0.28")}
        bench.provider.polls += [FILM]
        bench.look()
        operating.cancel(bench.ctx, job_id)
        assert amounts(bench) == {"late-1": Decimal("0.28"), "task-2": Decimal("0.28")}
        view = bench.view(job_id)
        assert view is not None
        assert view.charged_usd == Decimal("0.56")
        assert view.created_anew == 1

    def test_an_id_that_comes_before_the_new_create_makes_it_needless(self, bench: Bench) -> None:
        job_id = uncertain(bench)
        (first,) = bench.rows(tables.attempts)
        operating.create_anew(bench.ctx, job_id)
        bench.turn("admit")
        answering.commit_answer(bench.ctx, Answer(job_id, first.id, "main", judge(Accepted("late-1"), 1, 1)))
        create(job_id)
        assert bench.state(job_id) is State.GENERATING
        assert len(bench.provider.created) == 1

    def test_by_default_it_is_held_for_good(self, bench: Bench) -> None:
        job_id = uncertain(bench)
        self._age(bench)
        bench.turn("sweep")
        assert bench.state(job_id) is State.UNCERTAIN

    def test_the_policy_that_accepts_to_pay_twice_creates_anew_as_often_as_it_says(self, bench: Bench) -> None:
        bench = with_policy(bench, uncertain=DoubtPolicy(retry_after_s=60, max_extra=1))
        job_id = uncertain(bench)
        bench.turn("sweep")
        assert bench.state(job_id) is State.UNCERTAIN  # not yet
        self._age(bench)
        bench.turn("sweep")
        assert bench.state(job_id) is State.QUEUED
        bench.turn("admit")
        bench.provider.creates.append(Unknown("ReadTimeout"))
        create(job_id)
        self._age(bench)
        bench.turn("sweep")
        assert bench.state(job_id) is State.UNCERTAIN
        assert len(bench.provider.created) == 2

    def test_those_that_were_created_anew_often_enough_do_not_hide_the_others(self, bench: Bench) -> None:
        policy = DoubtPolicy(retry_after_s=60, max_extra=1)
        bench = with_policy(bench, uncertain=policy, sweep_batch=2, open_tasks_per_key=9)
        exhausted = [uncertain(bench) for _ in range(3)]
        newer = uncertain(bench)
        with bench.ctx.ledger.begin() as tx:
            again = [{"id": f"again-{job_id[:8]}", "job_id": job_id} for job_id in exhausted]
            values = {"number": 2, "key_alias": "main", "begun_at": tx.now, "outcome": "unknown"}
            tx.execute(sa.insert(tables.attempts), [{**values, **row} for row in again])
        self._age(bench)
        with bench.ctx.ledger.begin() as tx:
            younger = sa.update(tables.jobs).where(tables.jobs.c.id == newer)
            tx.execute(younger.values(changed_at=tx.now - timedelta(minutes=30)))
        bench.turn("sweep")
        assert bench.state(newer) is State.QUEUED
        assert {bench.state(job_id) for job_id in exhausted} == {State.UNCERTAIN}

    @staticmethod
    def _age(bench: Bench) -> None:
        with bench.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.jobs).values(changed_at=tx.now - timedelta(hours=1)))

    @pytest.mark.parametrize(
        ("late", "state"), [(Unsent("ConnectTimeout"), State.QUEUED), (Rejected("2013", "bad"), State.FAILED)]
    )
    def test_a_definite_answer_counts_however_late_it_comes(self, bench: Bench, late: Any, state: State) -> None:
        job_id = uncertain(bench)
        (attempt,) = bench.rows(tables.attempts)
        answering.commit_answer(bench.ctx, Answer(job_id, attempt.id, "main", judge(late, 1, 1)))
        assert bench.state(job_id) is state


class TestRetry:
    def test_a_failed_download_is_downloaded_again_and_never_created_or_charged_again(self, bench: Bench) -> None:
        job_id = failed_download(bench)
        assert amounts(bench) == {"task-1": Decimal("0.28")}
        assert operating.retry(bench.ctx, job_id).state is State.DOWNLOADING
        bench.turn("sweep")
        assert bench.messages("finish") >= 1
        assert len(bench.provider.created) == 1
        operating.cancel(bench.ctx, job_id)
        assert amounts(bench) == {"task-1": Decimal("0.28")}

    def test_a_job_that_was_refused_is_queued_again(self, bench: Bench) -> None:
        job_id = bench.submit()
        bench.turn("admit")
        bench.provider.creates.append(Rejected("2013", "bad parameters"))
        create(job_id)
        assert operating.retry(bench.ctx, job_id).state is State.QUEUED
        (row,) = bench.rows(tables.jobs)
        assert row.error_code is None

    def test_a_job_that_the_provider_failed_is_created_again_only_when_asked_for(self, bench: Bench) -> None:
        job_id = bench.generating()
        bench.provider.polls.append(Failed("010004095", "no"))
        bench.look()
        with pytest.raises(NotPossible, match="costs again"):
            operating.retry(bench.ctx, job_id)
        assert operating.retry(bench.ctx, job_id, anew=True).state is State.QUEUED
        bench.turn("admit")
        create(job_id)
        assert [row.provider_task_id for row in bench.rows(tables.attempts)] == ["task-1", "task-2"]

    def test_what_was_written_off_is_created_again_only_when_asked_for(self, bench: Bench) -> None:
        job_id = uncertain(bench)
        operating.write_off(bench.ctx, job_id, None)
        with pytest.raises(NotPossible, match="costs again"):
            operating.retry(bench.ctx, job_id)

    def test_what_has_not_failed_is_not_retried(self, bench: Bench) -> None:
        with pytest.raises(NotPossible, match="has not failed"):
            operating.retry(bench.ctx, bench.submit())
        with pytest.raises(NotPossible, match="there is no job"):
            operating.retry(bench.ctx, "nobody")


def test_a_completed_answer_is_what_counts_however_it_is_refreshed(bench: Bench) -> None:
    job_id = downloading(bench)
    for _ in range(2):
        bench.provider.polls.append(Completed((OUTPUT,), Usage(None)))
        download(job_id)
        bench.lapse()
    operating.cancel(bench.ctx, job_id)
    assert amounts(bench) == {"task-1": DONE.usage.cost_usd}


class TestWhatWasMeant:
    def test_a_retry_takes_an_earlier_wish_to_cancel_back(self, bench: Bench) -> None:
        job_id = uncertain(bench)
        operating.cancel(bench.ctx, job_id)
        operating.write_off(bench.ctx, job_id, None)
        assert operating.retry(bench.ctx, job_id, anew=True).cancel_requested_at is None

    def test_a_lost_jobs_own_task_is_not_forgotten_for_another(self, bench: Bench) -> None:
        bench = with_policy(bench, poll=PollPolicy(first_s=0, interval_s=0.01, lost_after_s=0.0))
        job_id = bench.generating()
        bench.provider.polls += [NotFound(), NotFound()]
        bench.look()
        bench.look()
        with pytest.raises(NotPossible, match="has task task-1"):
            operating.bind(bench.ctx, job_id, "another-1")

    def test_an_id_that_once_was_another_jobs_is_not_believed(self, bench: Bench) -> None:
        first = bench.generating()
        bench.provider.polls.append(Failed("010004095", "no"))
        bench.look()
        operating.retry(bench.ctx, first, anew=True)  # task-1 stands with its attempt alone now
        second = bench.submit(priority=5)
        bench.turn("admit")
        bench.provider.creates.append(Accepted("task-1"))
        create(second)
        assert bench.state(second) is State.UNCERTAIN

    def test_a_price_that_came_with_a_refreshed_answer_is_what_a_failed_download_is_charged(self, bench: Bench) -> None:
        job_id = bench.generating()
        bench.provider.polls.append(Completed((OUTPUT,), Usage(None)))
        bench.look()
        bench = with_policy(bench, download_tries=2)
        for _ in range(2):
            bench.provider.polls.append(FILM)
            download(job_id)
            bench.lapse()
        assert bench.state(job_id) is State.FAILED
        assert [(row.amount_usd, row.estimated) for row in bench.rows(tables.charges)] == [(Decimal("0.28"), False)]
