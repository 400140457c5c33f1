"""What becomes of jobs whose answer, message, worker, task or disk is lost, late or full, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

import tasks.create
import tasks.fetching
from schemas import keys
from schemas.jobs import State
from tasks import answering, context, operating
from tasks.create import create
from tasks.domain.answers import Accepted, NotFound, Running
from tasks.domain.creating import Answer, judge
from tasks.domain.polling import PollPolicy
from tasks.finish import download
from tasks.ledger import tables
from tasks.ledger.leases import claim
from tasks.media.errors import NoRoom
from tasks.media.folderstore import FolderStore
from tasks.reconciling import reconcile
from tests.support.bench import MODEL, URL, Bench
from tests.support.failing import away, grow_old, wordless
from tests.support.situations import amounts, downloading, with_policy


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

    @pytest.mark.parametrize("where", ["create_body", "parse_request"])
    def test_a_request_that_our_code_can_not_take_is_parked_unsent(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, where: str
    ) -> None:
        def fails(*_: Any, **__: Any) -> Any:
            raise ZeroDivisionError

        job_id = bench.admitted()
        monkeypatch.setattr(tasks.create, where, fails)
        for _ in range(4):
            with pytest.raises(ZeroDivisionError):
                create(job_id)
            with bench.ctx.ledger.begin() as tx:
                tx.execute(sa.update(tables.jobs).values(changed_at=tx.now - timedelta(seconds=100)))
            bench.lapse()
            bench.turn("sweep")
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
    def test_a_worker_that_slept_after_its_commit_sends_nothing(self, bench: Bench) -> None:
        bench = with_policy(bench, create_start_s=-1.0)
        job_id = bench.admitted()
        create(job_id)
        assert bench.provider.created == []
        assert bench.state(job_id) is State.QUEUED
        assert [row.outcome for row in bench.rows(tables.attempts)] == ["unsent"]

    def test_an_answer_that_the_ledger_can_not_take_is_spooled_and_replayed(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = bench.admitted()
        with monkeypatch.context() as broken:
            broken.setattr(tasks.create, "commit_answer", away)
            create(job_id)
        assert bench.state(job_id) is State.CREATING
        assert bench.ctx.spool.waiting() == 1
        assert answering.replay(bench.ctx) == 1
        assert bench.state(job_id) is State.GENERATING
        assert (bench.ctx.spool.waiting(), len(bench.provider.created)) == (0, 1)

    def test_a_spooled_answer_counts_after_its_job_was_parked(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = bench.admitted()
        with monkeypatch.context() as broken:
            broken.setattr(tasks.create, "commit_answer", away)
            create(job_id)
        bench.lapse()
        bench.turn("sweep")
        assert bench.state(job_id) is State.UNCERTAIN
        answering.replay(bench.ctx)
        assert bench.state(job_id) is State.GENERATING
        assert [row.outcome for row in bench.rows(tables.attempts)] == ["accepted"]

    def test_the_spool_waits_while_the_ledger_is_away(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        job_id = bench.admitted()
        monkeypatch.setattr(tasks.create, "commit_answer", away)
        create(job_id)
        monkeypatch.setattr(answering, "commit_answer", away)
        assert answering.replay(bench.ctx) == 0
        assert bench.ctx.spool.waiting() == 1

    @pytest.mark.parametrize("committed", [True, False])
    def test_an_attempt_of_which_no_word_came_back_is_known_to_have_sent_nothing(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, committed: bool
    ) -> None:
        job_id = bench.admitted()
        with monkeypatch.context() as broken:
            broken.setattr(type(bench.ctx.ledger), "begin", wordless(bench.ctx.ledger, committed))
            with pytest.raises(sa.exc.OperationalError):
                create(job_id)
        assert bench.state(job_id) is (State.CREATING if committed else State.ADMITTED)
        answering.replay(bench.ctx)
        # A commit whose word was lost may still appear: until then the entry waits.
        assert (bench.provider.created, bench.ctx.spool.waiting()) == ([], 0 if committed else 1)
        grow_old(bench)
        answering.replay(bench.ctx)
        assert bench.ctx.spool.waiting() == 0
        bench.lapse()
        bench.admit(job_id)
        create(job_id)
        assert bench.state(job_id) is State.GENERATING
        outcomes = ["unsent", "accepted"] if committed else ["accepted"]
        assert [row.outcome for row in sorted(bench.rows(tables.attempts), key=lambda row: row.number)] == outcomes

    def test_what_can_never_be_written_is_set_aside_and_holds_nothing_up(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.generating()  # has task-1
        job_id = bench.admitted()
        with monkeypatch.context() as broken:
            broken.setattr(tasks.create, "commit_answer", away)
            create(job_id)
        (attempt,) = [row for row in bench.rows(tables.attempts) if row.job_id == job_id]
        bench.ctx.spool.keep("0", {"form": "of another version"})
        bench.ctx.spool.keep("1", Answer(job_id, attempt.id, "main", judge(Accepted("task-1"), 1, 1)).to_json())
        assert answering.replay(bench.ctx) == 1
        assert bench.ctx.spool.waiting() == 0
        assert bench.state(job_id) is State.GENERATING

    def test_an_answer_written_twice_changes_nothing_the_second_time(self, bench: Bench) -> None:
        job_id = bench.admitted()
        create(job_id)
        (attempt,) = bench.rows(tables.attempts)
        before = bench.rows(tables.jobs)
        answering.commit_answer(bench.ctx, Answer(job_id, attempt.id, "main", judge(Accepted("task-1"), 1, 1)))
        assert bench.rows(tables.jobs) == before
        assert [row.settle_at for row in bench.rows(tables.attempts)] == [None]


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
        monkeypatch.setattr(tasks.fetching, "_fetch_all", away)
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

        monkeypatch.setattr(tasks.fetching, "_fetch_all", full)
        for _ in range(20):
            download(job_id)
            bench.lapse()
        (row,) = bench.rows(tables.jobs)
        assert (row.state, row.tries, row.deaths) == ("downloading", 0, 0)
