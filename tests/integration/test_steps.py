"""What takes a job from the stream into the store, each step by itself, when messages repeat, get lost, or come late.

The lanes poll and sweep have files of their own.
"""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

import tasks.admitting
from schemas import data_url, keys
from schemas.jobs import State
from tasks import context
from tasks.create import create
from tasks.domain.answers import Accepted, CreateOutcome, KeyRefused, RemoteOutput, Unknown, Unsent
from tasks.finish import download, record
from tasks.ledger import tables
from tasks.ledger.admission import Open
from tasks.ledger.database import Transaction
from tasks.media.errors import FetchInterrupted
from tasks.media.outputs import OutputFetcher
from tests.support.bench import DONE, MODEL, URL, Bench
from tests.support.pictures import picture
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
                if tx.dialect == "postgresql":  # SQLite has one writer: it waits anyway
                    wait_until(lambda: other_is_done.is_set() or bench.someone_waits(), what="the other lane's turn")
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
    def test_a_message_that_comes_twice_creates_once(self, bench: Bench) -> None:
        job_id = bench.admitted()
        create(job_id)
        create(job_id)
        assert len(bench.provider.created) == 1
        assert bench.state(job_id) is State.GENERATING

    def test_the_attempt_is_committed_before_the_provider_is_asked(self, bench: Bench) -> None:
        job_id = bench.admitted()
        seen: list[Any] = []

        def look(body: Any) -> CreateOutcome:
            seen.extend(row.outcome for row in bench.rows(tables.attempts))
            return Accepted(f"task-of-{len(body)}")

        bench.provider.create = look  # type: ignore[method-assign]
        create(job_id)
        assert seen == [None]

    def test_an_image_is_sent_as_a_data_url_and_a_url_as_it_is(self, bench: Bench) -> None:
        create(bench.admitted(first_frame_image=data_url(picture())))
        create(bench.admitted())
        sent = [body["input"][0]["params"]["first_frame_image"] for body in bench.provider.created]
        assert sent == [data_url(picture()), URL]

    @pytest.mark.parametrize("outcome", [Unsent("ConnectionRefused"), KeyRefused("http_401", "no", 401)])
    def test_what_was_provably_not_created_waits_for_its_next_turn(self, bench: Bench, outcome: CreateOutcome) -> None:
        bench.provider.creates = [outcome]
        job_id = bench.admitted()
        create(job_id)
        assert bench.state(job_id) is State.QUEUED
        bench.admit(job_id)
        create(job_id)
        assert bench.state(job_id) is State.GENERATING
        assert [row.outcome for row in bench.rows(tables.attempts)].count("accepted") == 1

    def test_an_unknown_outcome_is_parked_with_its_evidence_and_never_repeated(self, bench: Bench) -> None:
        bench.provider.creates = [Unknown("ReadTimeout")]
        job_id = bench.admitted()
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
        job_id = bench.admitted()
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
        job_id = bench.admitted()

        def late(body: Any) -> CreateOutcome:
            bench.lapse()
            bench.turn("sweep")
            assert bench.state(job_id) is State.UNCERTAIN
            return Accepted(f"late-{body['model']}")

        bench.provider.create = late  # type: ignore[method-assign]
        create(job_id)
        assert bench.state(job_id) is State.GENERATING

    def test_a_key_that_this_worker_does_not_have_begins_no_attempt(self, bench: Bench) -> None:
        job_id = bench.admitted()
        elsewhere = replace(bench.ctx, providers={})
        context.install(lambda: elsewhere)
        create(job_id)
        assert bench.state(job_id) is State.QUEUED
        assert bench.rows(tables.attempts) == []


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
