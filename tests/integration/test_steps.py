"""Each step by itself on real servers and both databases: what it does when messages repeat, get lost, or come late."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from unittest.mock import Mock

import pytest
import sqlalchemy as sa
import structlog

import tasks.admitting
from schemas import data_url, keys
from schemas.jobs import State
from schemas.keys import TIMETABLE
from tasks import context, operating
from tasks.create import create
from tasks.domain.answers import (
    Accepted,
    CreateOutcome,
    Failed,
    KeyRefused,
    LookAgain,
    PollAnswer,
    RemoteOutput,
    Running,
    Unknown,
    Unsent,
    Usage,
)
from tasks.finish import download, record
from tasks.lanes import TURNS
from tasks.ledger import tables
from tasks.ledger.admission import Open
from tasks.ledger.database import Transaction
from tasks.media.errors import FetchInterrupted
from tasks.media.outputs import OutputFetcher
from tasks.pulse import PulseError
from tests.support.bench import DONE, MODEL, URL, Bench
from tests.support.situations import downloading, picture, with_policy
from tests.support.waiting import wait_until


class TestAccept:
    def test_an_input_image_is_in_the_store_before_the_stream_forgets_it(self, bench: Bench) -> None:
        bench.submit(first_frame_image=data_url(picture()))
        (row,) = bench.rows(tables.jobs)
        name = row.request["first_frame_image"].removeprefix("input:").split(":")[0]
        sha256, _, extension = name.partition(".")
        assert bench.ctx.store.get_input(sha256, extension) == picture()
        assert bench.ctx.pulse.redis.xlen(keys.REQUESTS) == 0
        assert not bench.ctx.pulse.redis.exists(keys.input_blob(sha256))

    def test_an_input_that_left_redis_serves_a_later_request_from_the_store(self, bench: Bench) -> None:
        bench.submit(first_frame_image=data_url(picture()))
        (row,) = bench.rows(tables.jobs)
        bench.enter({"job": "later", "request": json.dumps(row.request)})
        bench.turn("accept")
        assert bench.state("later") is State.QUEUED

    def test_a_missing_input_is_put_aside_and_whoever_waits_is_told(self, bench: Bench) -> None:
        ref = f"input:{'0' * 64}.png:400x400"
        bench.enter({"job": "job-1", "request": json.dumps({"model": MODEL, "first_frame_image": ref})})
        bench.turn("accept")
        (aside,) = bench.rows(tables.rejected)
        view = bench.view("job-1")
        assert "submit it again" in aside.reason
        assert view is not None
        assert (view.state, view.error_code) == (State.FAILED, "request_refused")

    def test_what_was_put_aside_can_be_submitted_again_under_its_key(self, bench: Bench) -> None:
        request = {"model": MODEL, "first_frame_image": data_url(picture()), "idempotency_key": "order-7"}
        handle = bench.producer.submit(**request)
        for blob in bench.ctx.pulse.redis.scan_iter(f"{keys.PREFIX}input:*"):
            bench.ctx.pulse.redis.delete(blob)  # Redis came back without its last second
        bench.turn("accept")
        assert len(bench.rows(tables.rejected)) == 1
        again = bench.producer.submit(**request)
        bench.turn("accept")
        assert again.id == handle.id
        assert bench.state(again.id) is State.QUEUED

    def test_the_same_entry_twice_is_one_job(self, bench: Bench) -> None:
        entry = {"job": "job-1", "request": json.dumps({"model": MODEL, "first_frame_image": URL})}
        for _ in range(2):
            bench.enter(entry)
        bench.turn("accept")
        bench.enter(entry)
        bench.turn("accept")
        assert len(bench.rows(tables.jobs)) == 1
        assert bench.rows(tables.rejected) == []

    def test_of_two_requests_under_one_id_the_first_is_the_job_and_the_other_is_put_aside(self, bench: Bench) -> None:
        for resolution in ("512P", "768P"):
            request = {"model": MODEL, "first_frame_image": URL, "resolution": resolution}
            bench.enter({"job": "job-1", "request": json.dumps(request)})
        bench.turn("accept")
        (job,), (aside,) = bench.rows(tables.jobs), bench.rows(tables.rejected)
        assert job.resolution == "512P"
        assert "earlier, different request" in aside.reason
        view = bench.view("job-1")
        assert view is not None
        assert view.state is State.QUEUED  # what was put aside does not speak for the job

    def test_an_idempotency_key_of_another_job_is_put_aside_by_name(self, bench: Bench) -> None:
        request = json.dumps({"model": MODEL, "first_frame_image": URL, "idempotency_key": "order-7"})
        for job_id in ("job-1", "job-2"):
            bench.enter({"job": job_id, "request": request})
            bench.turn("accept")
        (aside,) = bench.rows(tables.rejected)
        view = bench.view("job-2")
        assert aside.reason == "idempotency_key: belongs to job job-1"
        assert view is not None
        assert view.state is State.FAILED

    @pytest.mark.parametrize(
        ("entry", "reason"),
        [
            ({"job": "x y", "request": "{}"}, "job:"),
            ({"job": "job-a", "request": "[" * 100_000}, "request:"),
            ({"job": "job-a", "request": b"\xff"}, "request:"),
            ({"job": "job-a", "request": "[]"}, "an object"),
            ({"job": "job-a", "v": "2", "request": "{}"}, "upgrade the workers"),
            ({"other": "field"}, "request:"),
        ],
    )
    def test_what_can_not_be_read_is_put_aside_and_holds_nobody_up(
        self, bench: Bench, entry: dict[str, Any], reason: str
    ) -> None:
        bench.enter(entry)
        good = bench.submit()
        (aside,) = bench.rows(tables.rejected)
        assert reason in aside.reason
        assert bench.state(good) is State.QUEUED


class TestAdmit:
    def test_no_more_are_admitted_than_a_key_may_have_open(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two lanes at once: one has counted, and the other has all the time to admit before it goes on."""
        for _ in range(5):
            bench.submit()
        counted, other_is_done = threading.Event(), threading.Event()
        count = tasks.admitting.open_tasks

        def slow_count(tx: Transaction, uncertain_s: float) -> list[Open]:
            found = count(tx, uncertain_s)
            if threading.current_thread() is slow:
                counted.set()
                other_is_done.wait(1)  # in vain: the other waits for its turn
            return found

        monkeypatch.setattr(tasks.admitting, "open_tasks", slow_count)
        slow = threading.Thread(target=bench.turn, args=("admit",))
        slow.start()
        assert counted.wait(10)
        bench.turn("admit")
        other_is_done.set()
        slow.join()
        assert sorted(row.state for row in bench.rows(tables.jobs)) == ["admitted"] * 3 + ["queued"] * 2
        assert bench.messages("create") == 3

    def test_a_deadline_that_passed_in_the_queue_ends_the_job_unpaid(self, bench: Bench) -> None:
        job_id = bench.submit(deadline_s=1)
        with bench.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.jobs).values(deadline_at=tx.now))
        bench.turn("admit")
        view = bench.view(job_id)
        assert view is not None
        assert (view.state, view.error_code) == (State.FAILED, "deadline_passed")
        assert bench.rows(tables.attempts) == []


class TestCreate:
    def admitted(self, bench: Bench, **request: Any) -> str:
        job_id = bench.submit(**request)
        bench.turn("admit")
        return job_id

    def test_a_message_that_comes_twice_creates_once(self, bench: Bench) -> None:
        job_id = self.admitted(bench)
        create(job_id)
        create(job_id)
        assert len(bench.provider.created) == 1
        assert bench.state(job_id) is State.GENERATING

    def test_the_attempt_is_committed_before_the_provider_is_asked(self, bench: Bench) -> None:
        job_id = self.admitted(bench)
        seen: list[Any] = []

        def look(body: Any) -> CreateOutcome:
            seen.extend(row.outcome for row in bench.rows(tables.attempts))
            return Accepted(f"task-of-{len(body)}")

        bench.provider.create = look  # type: ignore[method-assign]
        create(job_id)
        assert seen == [None]

    def test_an_image_is_sent_as_a_data_url_and_a_url_as_it_is(self, bench: Bench) -> None:
        create(self.admitted(bench, first_frame_image=data_url(picture())))
        create(self.admitted(bench))
        sent = [body["input"][0]["params"]["first_frame_image"] for body in bench.provider.created]
        assert sent == [data_url(picture()), URL]

    @pytest.mark.parametrize("outcome", [Unsent("ConnectionRefused"), KeyRefused("http_401", "no", 401)])
    def test_what_was_provably_not_created_waits_for_its_next_turn(self, bench: Bench, outcome: CreateOutcome) -> None:
        bench.provider.creates = [outcome]
        job_id = self.admitted(bench)
        create(job_id)
        assert bench.state(job_id) is State.QUEUED
        wait_until(lambda: bench.turn("admit") and bench.state(job_id) is State.ADMITTED, what="the next turn")
        create(job_id)
        assert bench.state(job_id) is State.GENERATING
        assert [row.outcome for row in bench.rows(tables.attempts)].count("accepted") == 1

    def test_an_unknown_outcome_is_parked_with_its_evidence_and_never_repeated(self, bench: Bench) -> None:
        bench.provider.creates = [Unknown("ReadTimeout")]
        job_id = self.admitted(bench)
        create(job_id)
        for _ in range(3):
            bench.lapse()
            bench.turn("sweep")
            bench.turn("admit")
            create(job_id)
        assert bench.state(job_id) is State.UNCERTAIN
        assert len(bench.provider.created) == 1
        (attempt,) = bench.rows(tables.attempts)
        assert (attempt.outcome, attempt.reason) == ("unknown", "ReadTimeout")

    def test_a_worker_that_dies_during_a_create_leaves_an_uncertain_job(self, bench: Bench) -> None:
        bench.provider.creates = [RuntimeError("killed")]
        job_id = self.admitted(bench)
        with pytest.raises(RuntimeError):
            create(job_id)
        assert bench.state(job_id) is State.CREATING
        bench.lapse()
        bench.turn("sweep")
        assert bench.state(job_id) is State.UNCERTAIN
        (attempt,) = bench.rows(tables.attempts)
        assert attempt.outcome == "unknown"
        assert len(bench.provider.created) == 1

    def test_an_answer_that_comes_after_the_job_was_parked_is_still_bound(self, bench: Bench) -> None:
        job_id = self.admitted(bench)

        def late(body: Any) -> CreateOutcome:
            bench.lapse()
            bench.turn("sweep")
            assert bench.state(job_id) is State.UNCERTAIN
            return Accepted(f"late-{body['model']}")

        bench.provider.create = late  # type: ignore[method-assign]
        create(job_id)
        assert bench.state(job_id) is State.GENERATING

    def test_a_key_that_this_worker_does_not_have_begins_no_attempt(self, bench: Bench) -> None:
        job_id = self.admitted(bench)
        elsewhere = replace(bench.ctx, providers={})
        context.install(lambda: elsewhere)
        create(job_id)
        assert bench.state(job_id) is State.QUEUED
        assert bench.rows(tables.attempts) == []


class TestPoll:
    def test_nothing_is_written_while_a_task_is_in_progress(self, bench: Bench) -> None:
        bench.generating()
        before = bench.rows(tables.jobs), bench.rows(tables.timeline)
        for answer in (Running(0.2), LookAgain("ReadTimeout"), Running(None, status_known=False)):
            bench.provider.polls = [answer]
            bench.look()
        assert (bench.rows(tables.jobs), bench.rows(tables.timeline)) == before
        assert len(bench.provider.polled) == 3

    def test_the_providers_failure_is_kept_and_what_it_cost_is_charged(self, bench: Bench) -> None:
        job_id = bench.generating()
        bench.provider.polls = [Failed("010004095", "no luck", Usage(Decimal("0.05"), raw={"cost": "0.05"}))]
        bench.look()
        view = bench.view(job_id)
        assert view is not None
        assert (view.state, view.error_code, view.charged_usd) == (State.FAILED, "010004095", Decimal("0.05"))

    def test_an_answer_that_our_code_can_not_take_holds_nobody_up(self, bench: Bench) -> None:
        first, second = bench.generating(), bench.generating()
        ask = bench.provider.poll

        def poll(task: str) -> PollAnswer:
            if task == "task-1":
                raise ZeroDivisionError
            ask(task)
            return Failed("010004095", "no luck")

        bench.provider.poll = poll  # type: ignore[method-assign]
        bench.look()
        assert (bench.state(first), bench.state(second)) == (State.GENERATING, State.FAILED)

    def test_an_answer_that_is_long_in_coming_holds_nobody_up(self, bench: Bench) -> None:
        first, second = bench.generating(), bench.generating()

        def poll(task: str) -> PollAnswer:
            if task == "task-1":
                wait_until(lambda: bench.state(second) is State.FAILED, within_s=60, what="the other's end")
            return Failed("010004095", "no luck")

        bench.provider.poll = poll  # type: ignore[method-assign]
        bench.look()
        assert (bench.state(first), bench.state(second)) == (State.FAILED, State.FAILED)

    def test_what_falls_due_meanwhile_is_looked_at_too(self, bench: Bench) -> None:
        first, second = bench.generating(), bench.generating()
        bench.ctx.pulse.redis.zadd(TIMETABLE, {second: time.time() + 3600}, xx=True)

        def poll(task: str) -> PollAnswer:
            if task == "task-1":
                bench.ctx.pulse.redis.zadd(TIMETABLE, {second: 0}, xx=True)
                wait_until(lambda: bench.state(second) is State.FAILED, within_s=60, what="the other's end")
            return Failed("010004095", "no luck")

        bench.provider.poll = poll  # type: ignore[method-assign]
        bench.ctx.pulse.redis.zadd(TIMETABLE, {first: 0}, xx=True)
        bench.turn("poll")
        assert (bench.state(first), bench.state(second)) == (State.FAILED, State.FAILED)

    def test_a_host_that_gets_no_answers_leaves_what_is_due_to_the_next_turn(self, bench: Bench) -> None:
        first, second = bench.generating(), bench.generating()
        bench.ctx.pulse.redis.zadd(TIMETABLE, {second: time.time() + 3600}, xx=True)

        def poll(task: str) -> PollAnswer:
            bench.provider.polled.append(task)
            bench.ctx.pulse.redis.zadd(TIMETABLE, {second: 0}, xx=True)
            return LookAgain("ConnectTimeout")

        bench.provider.poll = poll  # type: ignore[method-assign]
        bench.ctx.pulse.redis.zadd(TIMETABLE, {first: 0}, xx=True)
        bench.turn("poll")
        assert bench.provider.polled == ["task-1"]
        bench.turn("poll")
        assert bench.provider.polled == ["task-1", "task-2"]

    def test_a_turn_that_was_cut_short_waits_for_its_own_answers(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = bench.generating(), bench.generating()
        monkeypatch.setattr("tasks.poll._LINGER_S", -1.0)

        def missed() -> bool:
            return bool(json.loads(bench.ctx.pulse.redis.hget(keys.LOOKS, first) or "")[6] == 1)

        def poll(task: str) -> PollAnswer:
            if task == "task-1":
                return LookAgain("ConnectTimeout")
            wait_until(missed, within_s=60, what="the other's answer being worked")
            return Failed("010004095", "no luck")

        bench.provider.poll = poll  # type: ignore[method-assign]
        bench.ctx.pulse.redis.zadd(TIMETABLE, {first: 0, second: 0}, xx=True)
        assert with_policy(bench, poll_lease_s=60.0).turn("poll") > 0  # 0 where another thread has to see to the rest
        assert bench.state(second) is State.FAILED

    def test_a_turn_that_is_over_leaves_late_answers_to_another_thread(self, bench: Bench) -> None:
        job_id = bench.generating()
        over = threading.Event()

        def poll(_task: str) -> PollAnswer:
            over.wait(60)
            return Failed("010004095", "no luck")

        bench.provider.poll = poll  # type: ignore[method-assign]
        assert with_policy(bench, poll_lease_s=0.1).turn("poll") == 0.0
        assert bench.state(job_id) is State.GENERATING
        over.set()
        wait_until(lambda: bench.state(job_id) is State.FAILED, what="the late answer")

    def test_late_answers_that_can_not_be_kept_are_asked_for_again(self, bench: Bench) -> None:
        job_id = bench.generating()
        over = threading.Event()

        def poll(_task: str) -> PollAnswer:
            over.wait(60)
            return Running(0.5)

        bench.provider.poll = poll  # type: ignore[method-assign]
        broken = with_policy(bench, poll_lease_s=0.1)
        with structlog.testing.capture_logs() as logged:
            broken.turn("poll")
            bench.ctx.pulse.timetable.put_back = Mock(side_effect=PulseError)  # type: ignore[method-assign]
            over.set()
            wait_until(lambda: any(line["event"] == "late_answers_lost" for line in logged), what="its log")
        assert bench.ctx.pulse.redis.zscore(TIMETABLE, job_id) is not None

    def test_a_task_whose_key_is_not_configured_is_looked_at_again(self, bench: Bench) -> None:
        job_id = bench.generating()
        bench.ctx.pulse.redis.zadd(TIMETABLE, {job_id: 0}, xx=True)
        with structlog.testing.capture_logs() as logged:
            TURNS["poll"](replace(bench.ctx, providers={}))
        assert bench.state(job_id) is State.GENERATING
        assert [(line["event"], line["reason"]) for line in logged] == [("poll_said_nothing", "key_refused")]
        assert json.loads(bench.ctx.pulse.redis.hget(keys.LOOKS, job_id) or "")[6] == 1


class TestFinish:
    def downloading(self, bench: Bench) -> str:
        job_id = bench.generating()
        output = RemoteOutput("other", "http://127.0.0.1:9/none?sig=canary")
        bench.provider.polls = [replace(DONE, outputs=(output,))]
        bench.look()
        assert bench.state(job_id) is State.DOWNLOADING
        assert bench.messages("finish") == 1
        return job_id

    def test_a_download_that_fails_is_tried_again_later_and_not_by_a_doubled_message(self, bench: Bench) -> None:
        job_id = self.downloading(bench)
        for _ in range(3):
            download(job_id)
        (row,) = bench.rows(tables.jobs)
        assert (row.state, row.tries) == (State.DOWNLOADING, 1)

    def test_a_download_that_never_succeeds_fails_the_job_and_is_charged(self, bench: Bench) -> None:
        job_id = self.downloading(bench)
        for _ in range(bench.ctx.policy.download_tries):
            download(job_id)
            bench.lapse()
        view = bench.view(job_id)
        assert view is not None
        assert (view.state, view.error_code) == (State.FAILED, "output_not_stored")
        assert view.charged_usd == Decimal("0.28")
        assert "canary" not in (view.error_message or "")

    def test_a_second_try_asks_for_the_urls_anew_and_creates_nothing(self, bench: Bench) -> None:
        job_id = self.downloading(bench)
        download(job_id)
        polled = len(bench.provider.polled)
        bench.lapse()
        bench.provider.polls = [replace(DONE, outputs=(RemoteOutput("other", "http://127.0.0.1:9/fresh"),))]
        download(job_id)
        assert len(bench.provider.polled) == polled + 1
        assert len(bench.provider.created) == 1
        (row,) = bench.rows(tables.jobs)
        assert row.answer["outputs"][0]["url"].endswith("/fresh")

    def test_a_worker_that_was_overtaken_does_not_fail_the_job(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = self.downloading(bench)

        def overtaken(*_: Any) -> None:
            with bench.ctx.ledger.begin() as tx:
                tx.execute(sa.update(tables.jobs).values(tries=tables.jobs.c.tries + 1))
            raise FetchInterrupted("late")

        monkeypatch.setattr(OutputFetcher, "keep", overtaken)
        fail_at_once = replace(bench.ctx, policy=replace(bench.ctx.policy, download_tries=1))
        context.install(lambda: fail_at_once)
        download(job_id)
        assert bench.state(job_id) is State.DOWNLOADING

    def test_recording_twice_charges_once(self, bench: Bench) -> None:
        job_id = self.downloading(bench)
        with bench.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.jobs).values(state=State.RECORDING))
        record(job_id)
        record(job_id)
        assert bench.state(job_id) is State.COMPLETED
        assert [row.amount_usd for row in bench.rows(tables.charges)] == [Decimal("0.28")]


class TestSweep:
    def test_a_lost_message_is_sent_again(self, bench: Bench) -> None:
        bench.turn("sweep")  # finds Redis empty, and knows it as whole from then on
        job_id = bench.submit()
        bench.turn("admit")
        bench.ctx.pulse.redis.delete("create")
        bench.turn("sweep")
        assert bench.messages("create") == 0  # it may still be on its way
        bench.lapse()
        bench.turn("sweep")
        assert bench.messages("create") == 1
        create(job_id)
        assert bench.state(job_id) is State.GENERATING

    def test_a_message_that_waits_in_a_long_queue_is_not_sent_over_and_over(self, bench: Bench) -> None:
        bench.submit()
        bench.turn("admit")
        with bench.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.jobs).values(changed_at=tx.now - timedelta(seconds=100)))
        bench.lapse()
        bench.turn("sweep")
        (row,) = bench.rows(tables.jobs)
        with bench.ctx.ledger.read() as tx:
            assert row.lease_until - tx.now > timedelta(seconds=90)

    def test_a_place_on_the_timetable_that_was_lost_is_given_again(self, bench: Bench) -> None:
        bench.generating()
        bench.turn("sweep")
        for _ in range(2):  # the second time long after it was confirmed
            bench.ctx.pulse.redis.delete("reelworks:timetable")
            bench.lapse()
            bench.turn("sweep")
            assert bench.ctx.pulse.timetable.next_due_in_s() is not None

    def test_what_was_noted_of_a_task_and_lost_is_made_again(self, bench: Bench) -> None:
        bench.generating()
        bench.ctx.pulse.redis.delete(keys.LOOKS)
        bench.look()
        bench.look()
        assert bench.provider.polled == ["task-1"]

    @pytest.mark.parametrize("wiped", [True, False])
    def test_whoever_waits_for_a_job_that_ended_is_told_in_the_end(self, bench: Bench, wiped: bool) -> None:
        job_id = bench.generating()
        bench.turn("sweep")
        bench.provider.polls = [Failed("010004095", "no luck")]
        bench.look()
        if wiped:
            bench.ctx.pulse.redis.flushall()
        else:  # the worker died between the commit and the view
            bench.ctx.pulse.redis.delete(keys.view(job_id))
            bench.lapse()
        assert bench.view(job_id) is None
        bench.turn("sweep")
        view = bench.view(job_id)
        assert view is not None
        assert view.state is State.FAILED

    def with_history(self, bench: Bench) -> tuple[Bench, str, str, list[str]]:
        """A generating job, one to be downloaded, and more jobs that have ended than a turn looks at."""
        bench = with_policy(bench, sweep_batch=2)
        to_download = downloading(bench)
        generating = bench.generating()
        ended = [bench.submit() for _ in range(7)]
        for job_id in ended:
            operating.cancel(bench.ctx, job_id)
        while bench.turn("sweep") == 0.0:  # nothing of it needs to be followed up any more
            pass
        return bench, generating, to_download, ended

    def shown(self, bench: Bench, job_ids: Sequence[str]) -> list[str]:
        return [job_id for job_id in job_ids if bench.view(job_id) is not None]

    def test_after_a_wipe_open_jobs_go_on_before_the_views_of_ended_ones_are_back(self, bench: Bench) -> None:
        bench, generating, to_download, ended = self.with_history(bench)
        bench.ctx.pulse.redis.flushall()
        assert bench.turn("sweep") == 0.0
        assert bench.ctx.pulse.redis.zscore(TIMETABLE, generating) is not None
        assert bench.messages("finish") == 1
        seen = [len(self.shown(bench, ended))]
        while bench.turn("sweep") == 0.0:
            seen.append(len(self.shown(bench, ended)))
        assert all(after - before <= 2 for before, after in pairwise(seen))
        every = [generating, to_download, *ended]
        assert self.shown(bench, every) == every
        assert bench.messages("finish") == 1

    def test_a_second_wipe_while_views_come_back_begins_anew(self, bench: Bench) -> None:
        bench, *open_jobs, ended = self.with_history(bench)
        bench.ctx.pulse.redis.flushall()
        for _ in range(4):
            assert bench.turn("sweep") == 0.0
        assert 0 < len(self.shown(bench, ended)) < len(ended)
        bench.ctx.pulse.redis.flushall()
        while bench.turn("sweep") == 0.0:
            pass
        assert self.shown(bench, [*open_jobs, *ended]) == [*open_jobs, *ended]

    def test_a_view_that_could_not_be_published_is_published_by_the_next_turn(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench, *_, ended = self.with_history(bench)
        bench.ctx.pulse.redis.flushall()

        def away(*_: Any) -> None:
            raise PulseError("connection lost")

        with monkeypatch.context() as broken:
            broken.setattr(bench.ctx.pulse.views, "publish", away)
            with pytest.raises(PulseError):
                bench.turn("sweep")
        while bench.turn("sweep") == 0.0:
            pass
        assert self.shown(bench, ended) == ended

    def test_a_part_that_a_dead_worker_left_is_removed_and_one_at_work_is_not(self, bench: Bench) -> None:
        left, written = (bench.ctx.store.part(f"default/job/{index}.part") for index in range(2))
        for part in (left, written):
            part.write_bytes(b"half a film")
        os.utime(left, (0, 0))
        bench.turn("sweep")
        assert (left.exists(), written.exists()) == (False, True)

    def test_what_needs_nothing_more_is_forgotten(self, bench: Bench) -> None:
        bench.generating()
        bench.provider.polls = [Failed("010004095", "no luck")]
        bench.look()
        bench.lapse()
        bench.turn("sweep")
        (row,) = bench.rows(tables.jobs)
        assert row.lease_until is None
