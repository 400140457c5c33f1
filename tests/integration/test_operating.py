"""What people and policies do with jobs that are in doubt, have failed or are not wanted, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

import tasks.create
import tasks.finish
from schemas import keys
from schemas.errors import NotSubmitted
from schemas.jobs import State
from schemas.producer import Producer
from tasks import answering, context, operating
from tasks.create import create
from tasks.domain.answers import (
    Accepted,
    Completed,
    Failed,
    LookAgain,
    NotFound,
    PollAnswer,
    Rejected,
    RemoteOutput,
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
from tasks.ledger.jobs import claim
from tasks.media.errors import NoRoom
from tasks.media.store import FolderStore
from tasks.operating import NotPossible
from tasks.policy import Policy
from tasks.reconciling import reconcile
from tests.support.bench import DONE, MODEL, URL, Bench

OUTPUT = RemoteOutput("video", "https://films.example/0.mp4")
FILM = Completed((OUTPUT,), Usage(Decimal("0.28"), raw={"cost": "0.28"}))


def uncertain(bench: Bench) -> str:
    """A job whose create got no answer."""
    job_id = bench.submit()
    bench.turn("admit")
    bench.provider.creates.append(Unknown("ReadTimeout"))
    create(job_id)
    assert bench.state(job_id) is State.UNCERTAIN
    return job_id


def downloading(bench: Bench) -> str:
    job_id = bench.generating()
    bench.provider.polls.append(FILM)
    bench.look()
    assert bench.state(job_id) is State.DOWNLOADING
    return job_id


def failed_download(bench: Bench) -> str:
    """A job whose output can't be fetched: nobody listens at its address."""
    job_id = downloading(bench)
    for _ in range(20):
        if bench.state(job_id) is State.FAILED:
            return job_id
        bench.provider.polls.append(FILM)
        download(job_id)
        bench.lapse()
    raise AssertionError("the download never gave up")


def amounts(bench: Bench) -> dict[str, Decimal]:
    return {row.provider_task_id: row.amount_usd for row in bench.rows(tables.charges)}


def with_policy(bench: Bench, **changes: Any) -> Bench:
    changed: Policy = replace(bench.ctx.policy, **changes)
    ctx = replace(bench.ctx, policy=changed)
    context.install(lambda: ctx)
    return replace(bench, ctx=ctx)


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


class TestLost:
    def test_a_task_that_is_not_found_for_too_long_parks_the_job_and_keeps_its_id(self, bench: Bench) -> None:
        bench = with_policy(bench, poll=PollPolicy(first_s=0, interval_s=0.01, lost_after_s=0.0))
        job_id = bench.generating()
        bench.provider.polls += [NotFound(), NotFound()]
        bench.look()
        assert bench.state(job_id) is State.GENERATING  # the first one only begins the grace
        bench.look()
        assert bench.state(job_id) is State.UNCERTAIN
        (row,) = bench.rows(tables.jobs)
        assert row.provider_task_id == "task-1"

    def test_a_look_that_finds_the_task_begins_the_grace_anew(self, bench: Bench) -> None:
        bench = with_policy(bench, poll=PollPolicy(first_s=0, interval_s=0.01, lost_after_s=0.0))
        job_id = bench.generating()
        bench.provider.polls += [NotFound(), Running(0.1), NotFound()]
        for _ in range(3):
            bench.look()
        assert bench.state(job_id) is State.GENERATING

    def test_reconcile_finds_it_again(self, bench: Bench) -> None:
        bench = with_policy(bench, poll=PollPolicy(first_s=0, interval_s=0.01, lost_after_s=0.0))
        job_id = bench.generating()
        bench.provider.polls += [NotFound(), NotFound()]
        bench.look()
        bench.look()
        bench.provider.polls += [Running(0.5)]
        (difference,) = reconcile(bench.ctx).differences
        assert (difference.job_id, difference.provider) == (job_id, "in progress")
        bench.provider.polls += [Running(0.5), Running(0.5)]
        assert reconcile(bench.ctx, mend=True).differences[0].mended
        assert bench.state(job_id) is State.GENERATING


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


class TestPoison:
    def die(self, bench: Bench, job_id: str, state: State) -> None:
        """A worker claims the job and is never heard of again."""
        with bench.ctx.ledger.begin() as tx:
            assert claim(tx, job_id, state, 5) is not None
        bench.lapse()
        bench.turn("sweep")

    def test_a_film_that_kills_three_workers_is_parked_and_paid_for(self, bench: Bench) -> None:
        job_id = downloading(bench)
        for _ in range(3):
            self.die(bench, job_id, State.DOWNLOADING)
        download(job_id)
        (row,) = bench.rows(tables.jobs)
        assert (row.state, row.error_code, row.error_stage) == ("failed", "worker_killed", "downloading")
        assert amounts(bench) == {"task-1": Decimal("0.28")}
        assert operating.retry(bench.ctx, job_id).deaths == 0

    def test_a_request_that_kills_three_workers_is_parked_unsent(self, bench: Bench) -> None:
        job_id = bench.submit()
        bench.turn("admit")
        for _ in range(3):
            self.die(bench, job_id, State.ADMITTED)
        create(job_id)
        (row,) = bench.rows(tables.jobs)
        assert (row.state, row.error_code) == ("failed", "worker_killed")
        assert bench.provider.created == []

    def test_a_try_that_was_given_back_is_no_death(self, bench: Bench) -> None:
        job_id = downloading(bench)
        for _ in range(4):
            download(job_id)  # refused connection: given back
            bench.lapse()
        (row,) = bench.rows(tables.jobs)
        assert (row.deaths, row.tries, row.state) == (0, 4, "downloading")


class TestLateAnswers:
    def admitted(self, bench: Bench) -> str:
        job_id = bench.submit()
        bench.turn("admit")
        return job_id

    def test_a_worker_that_slept_after_its_commit_sends_nothing(self, bench: Bench) -> None:
        bench = with_policy(bench, create_start_s=-1.0)
        job_id = self.admitted(bench)
        create(job_id)
        assert bench.provider.created == []
        assert bench.state(job_id) is State.QUEUED
        assert [row.outcome for row in bench.rows(tables.attempts)] == ["unsent"]

    def test_an_answer_that_the_ledger_can_not_take_is_spooled_and_replayed(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = self.admitted(bench)
        with monkeypatch.context() as broken:
            broken.setattr(tasks.create, "commit_answer", _away)
            create(job_id)
        assert bench.state(job_id) is State.CREATING
        assert bench.ctx.spool.waiting() == 1
        assert answering.replay(bench.ctx) == 1
        assert bench.state(job_id) is State.GENERATING
        assert (bench.ctx.spool.waiting(), len(bench.provider.created)) == (0, 1)

    def test_a_spooled_answer_counts_after_its_job_was_parked(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = self.admitted(bench)
        with monkeypatch.context() as broken:
            broken.setattr(tasks.create, "commit_answer", _away)
            create(job_id)
        bench.lapse()
        bench.turn("sweep")
        assert bench.state(job_id) is State.UNCERTAIN
        answering.replay(bench.ctx)
        assert bench.state(job_id) is State.GENERATING
        assert [row.outcome for row in bench.rows(tables.attempts)] == ["accepted"]

    def test_the_spool_waits_while_the_ledger_is_away(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        job_id = self.admitted(bench)
        monkeypatch.setattr(tasks.create, "commit_answer", _away)
        create(job_id)
        monkeypatch.setattr(answering, "commit_answer", _away)
        assert answering.replay(bench.ctx) == 0
        assert bench.ctx.spool.waiting() == 1

    def test_what_can_never_be_written_is_set_aside_and_holds_nothing_up(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.generating()  # has task-1
        job_id = self.admitted(bench)
        with monkeypatch.context() as broken:
            broken.setattr(tasks.create, "commit_answer", _away)
            create(job_id)
        (attempt,) = [row for row in bench.rows(tables.attempts) if row.job_id == job_id]
        bench.ctx.spool.keep("0", {"form": "of another version"})
        bench.ctx.spool.keep("1", Answer(job_id, attempt.id, "main", judge(Accepted("task-1"), 1, 1)).to_json())
        assert answering.replay(bench.ctx) == 1
        assert bench.ctx.spool.waiting() == 0
        assert bench.state(job_id) is State.GENERATING

    def test_an_answer_written_twice_changes_nothing_the_second_time(self, bench: Bench) -> None:
        job_id = self.admitted(bench)
        create(job_id)
        (attempt,) = bench.rows(tables.attempts)
        before = bench.rows(tables.jobs)
        answering.commit_answer(bench.ctx, Answer(job_id, attempt.id, "main", judge(Accepted("task-1"), 1, 1)))
        assert bench.rows(tables.jobs) == before
        assert [row.settle_at for row in bench.rows(tables.attempts)] == [None]


def _away(*_: Any) -> Any:
    raise sa.exc.OperationalError("COMMIT", None, Exception("server closed the connection"))


class TestReconcile:
    def test_an_estimate_is_corrected_once_the_provider_names_the_price(self, bench: Bench) -> None:
        job_id = bench.generating()
        operating.cancel(bench.ctx, job_id)
        bench.provider.polls.append(Completed((), Usage(None)))
        bench.look()
        assert [row.estimated for row in bench.rows(tables.charges)] == [True]
        later = Completed((), Usage(Decimal("0.25"), raw={"cost": "0.25"}))
        bench.provider.polls.append(later)
        (difference,) = reconcile(bench.ctx).differences
        assert difference.missing_usd == Decimal("-0.03")
        bench.provider.polls.append(later)
        reconcile(bench.ctx, mend=True)
        assert [(row.amount_usd, row.estimated) for row in bench.rows(tables.charges)] == [(Decimal("0.25"), False)]
        assert reconcile(bench.ctx).differences == ()

    def test_a_failure_that_was_charged_after_all_is_found_and_charged(self, bench: Bench) -> None:
        bench.generating()
        bench.provider.polls.append(Failed("010004095", "no"))
        bench.look()
        assert amounts(bench) == {}
        bench.provider.polls += [Failed("010004095", "no", Usage(Decimal("0.10")))] * 2
        assert [each.missing_usd for each in reconcile(bench.ctx).differences] == [Decimal("0.10")]
        reconcile(bench.ctx, mend=True)
        assert amounts(bench) == {"task-1": Decimal("0.10")}

    def test_ledger_and_provider_that_agree_have_no_difference(self, bench: Bench) -> None:
        bench.generating()
        compared = reconcile(bench.ctx)
        assert (compared.asked, compared.differences) == (1, ())


class TestCommands:
    def command(self, bench: Bench, **fields: str) -> None:
        bench.ctx.pulse.redis.xadd(keys.COMMANDS, {"v": "1", **fields})

    def test_a_producers_cancel_is_done_by_the_lane(self, bench: Bench) -> None:
        job_id = bench.submit()
        self.command(bench, command="cancel", job=job_id)
        bench.turn("accept")  # makes the group
        bench.turn("accept")
        assert bench.state(job_id) is State.CANCELLED
        assert bench.ctx.pulse.redis.xlen(keys.COMMANDS) == 0

    def test_a_handle_cancels_and_retries(self, bench: Bench) -> None:
        bench.turn("accept")  # makes the group
        job_id = bench.submit()
        bench.turn("admit")
        bench.provider.creates.append(Rejected("2013", "bad parameters"))
        create(job_id)
        handle = bench.producer.handle(job_id)
        handle.retry()
        bench.turn("accept")
        assert handle.state is State.QUEUED
        handle.cancel()
        bench.turn("accept")
        assert handle.state is State.CANCELLED

    def test_a_command_that_redis_does_not_take_is_told_as_such(self) -> None:
        with Producer("redis://127.0.0.1:1/0") as producer, pytest.raises(NotSubmitted, match="did not confirm"):
            producer.handle("job-1").cancel()

    def test_a_command_that_overtook_its_request_waits_for_it(self, bench: Bench) -> None:
        bench.turn("accept")
        self.command(bench, command="cancel", job="job-1")
        bench.turn("accept")
        assert bench.ctx.pulse.redis.xlen(keys.COMMANDS) == 1
        bench.enter({"job": "job-1", "request": f'{{"model": "minimax_hailuo_02_i2v", "first_frame_image": "{URL}"}}'})
        bench.turn("accept")
        bench.turn("accept")
        assert bench.state("job-1") is State.CANCELLED

    def test_a_command_that_is_read_twice_is_done_once(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        bench.turn("accept")  # makes the group
        job_id = bench.generating()
        bench.provider.polls.append(Failed("010004095", "no"))
        bench.look()
        self.command(bench, command="retry", job=job_id, anew="1")
        with monkeypatch.context() as dying:
            dying.setattr(type(bench.ctx.pulse.intake), "commands_done", lambda *_: None)  # the lane died before it
            bench.turn("accept")
        bench.turn("admit")
        create(job_id)
        bench.provider.polls.append(Failed("010004095", "no"))
        bench.look()
        assert bench.state(job_id) is State.FAILED
        bench.turn("accept")
        assert bench.state(job_id) is State.FAILED
        assert bench.ctx.pulse.redis.xlen(keys.COMMANDS) == 0

    def test_a_command_that_can_not_be_done_is_put_aside_with_its_reason(self, bench: Bench) -> None:
        job_id = bench.submit()
        bench.turn("accept")
        self.command(bench, command="retry", job=job_id)
        self.command(bench, command="explode", job=job_id)
        bench.turn("accept")
        reasons = sorted(row.reason for row in bench.rows(tables.rejected))
        assert ["command: form 1" in reasons[0], "has not failed" in reasons[1]] == [True, True]
        assert bench.ctx.pulse.redis.xlen(keys.COMMANDS) == 0


def test_a_completed_answer_is_what_counts_however_it_is_refreshed(bench: Bench) -> None:
    job_id = downloading(bench)
    for _ in range(2):
        bench.provider.polls.append(Completed((OUTPUT,), Usage(None)))
        download(job_id)
        bench.lapse()
    operating.cancel(bench.ctx, job_id)
    assert amounts(bench) == {"task-1": DONE.usage.cost_usd}


class TestStranded:
    def test_after_a_wipe_nothing_waits_for_a_message_that_went_with_it(self, bench: Bench) -> None:
        job_id = downloading(bench)
        bench.ctx.pulse.redis.flushall()
        bench.turn("sweep")
        assert bench.messages("finish") == 1
        assert bench.state(job_id) is State.DOWNLOADING

    def test_a_claimed_job_is_left_to_its_worker_over_a_wipe(self, bench: Bench) -> None:
        job_id = downloading(bench)
        with bench.ctx.ledger.begin() as tx:
            assert claim(tx, job_id, State.DOWNLOADING, 30) is not None
        bench.ctx.pulse.redis.flushall()
        bench.turn("sweep")
        assert bench.messages("finish") == 0

    @pytest.mark.parametrize(("messages_before", "longer"), [(0, False), (1, True)])
    def test_the_next_message_comes_late_only_where_the_first_may_still_wait(
        self, bench: Bench, messages_before: int, *, longer: bool
    ) -> None:
        downloading(bench)
        if messages_before == 0:
            bench.ctx.pulse.redis.delete("finish")
        with bench.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.jobs).values(changed_at=tx.now - timedelta(seconds=500)))
        bench.lapse()
        bench.turn("sweep")
        (row,) = bench.rows(tables.jobs)
        with bench.ctx.ledger.read() as tx:
            left_s = (row.lease_until - tx.now).total_seconds()
        assert (left_s > bench.ctx.policy.handover_s + 60) is longer

    def test_a_database_that_fails_in_the_middle_is_no_death_of_a_worker(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = downloading(bench)
        monkeypatch.setattr(tasks.finish, "_fetch_all", _away)
        with pytest.raises(sa.exc.OperationalError):
            download(job_id)
        (row,) = bench.rows(tables.jobs)
        assert (row.deaths, row.claimed, row.tries) == (0, False, 1)


class TestFullDisk:
    def full(self, bench: Bench) -> Bench:
        store = FolderStore(bench.folder / "store", low_bytes=10**18)
        ctx = replace(bench.ctx, store=store)
        context.install(lambda: ctx)
        return replace(bench, ctx=ctx)

    def test_nothing_is_claimed_and_no_try_is_counted(self, bench: Bench) -> None:
        job_id = downloading(bench)
        bench = self.full(bench)
        download(job_id)
        (row,) = bench.rows(tables.jobs)
        assert (row.state, row.tries, row.claimed) == ("downloading", 0, False)

    def test_requests_stay_in_the_stream(self, bench: Bench) -> None:
        bench = self.full(bench)
        handle = bench.producer.submit(model=MODEL, first_frame_image=URL)
        bench.turn("accept")
        assert handle.state is None
        assert bench.ctx.pulse.redis.xlen(keys.REQUESTS) == 1

    def test_a_disk_that_fills_up_in_the_middle_counts_no_try(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = downloading(bench)

        def full(*_: Any) -> Any:
            raise NoRoom("the disk is nearly full")

        monkeypatch.setattr(tasks.finish, "_fetch_all", full)
        for _ in range(20):
            download(job_id)
            bench.lapse()
        (row,) = bench.rows(tables.jobs)
        assert (row.state, row.tries, row.deaths) == ("downloading", 0, 0)


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
