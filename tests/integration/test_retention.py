"""What is not kept for good: what goes, what stays because somebody needs it, and what a death in between leaves."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import obstore
import pytest
import sqlalchemy as sa

from schemas import data_url, keys
from schemas.jobs import TERMINAL, Output, State
from tasks import context, operating, pruning
from tasks.create import create
from tasks.domain.answers import Completed, Rejected, RemoteOutput
from tasks.finish import download, record
from tasks.ledger import reports, tables
from tasks.ledger.deliveries import owe
from tasks.ledger.retention import Due, due
from tasks.media.errors import StoreAway
from tasks.media.folderstore import FolderStore
from tasks.media.outputs import OutputFetcher
from tasks.media.s3store import S3Store
from tests.support.bench import Bench
from tests.support.pictures import picture
from tests.support.situations import FILM, FILM_BYTES, downloading, uncertain, with_policy

DAYS = 3.0
"""What is kept for so long here; jobs are made older than that by hand."""
PICTURE = picture(kind="PNG")
NAME = f"{hashlib.sha256(PICTURE).hexdigest()}.png"


@pytest.fixture(params=["folder", "s3"])
def kept(bench: Bench, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench that keeps films and pictures for a while, in a store of each kind."""
    store: FolderStore | S3Store = (
        FolderStore(bench.folder / "store") if request.param == "folder" else request.getfixturevalue("s3_store")
    )

    def keep(_self: OutputFetcher, _remote: Any, name: str, index: int, _expected: Any) -> Output:
        part = store.part(f"{name}.mp4")
        part.write_bytes(FILM_BYTES)
        store.commit(part, f"{name}.mp4")
        return Output(index, "video", f"{name}.mp4", len(FILM_BYTES), "ab" * 32, 1366, 768, 6.0)

    monkeypatch.setattr(OutputFetcher, "keep", keep)
    ctx = replace(bench.ctx, store=store)
    context.install(lambda: ctx)
    return with_policy(replace(bench, ctx=ctx), outputs_days=DAYS, open_tasks_per_key=99)


def completed(bench: Bench, **request: Any) -> str:
    job_id = bench.generating(**request)
    bench.provider.polls.append(FILM)
    bench.look()
    download(job_id)
    record(job_id)
    assert bench.state(job_id) is State.COMPLETED
    return job_id


def settled(bench: Bench) -> None:
    """Let the sweep see to all that has to follow."""
    bench.lapse()
    bench.turn("sweep")


def aged(bench: Bench, *job_ids: str, days: float = DAYS + 1) -> None:
    """So long ago these have ended."""
    with bench.ctx.ledger.begin() as tx:
        ago = tx.now - timedelta(days=days)
        tx.execute(sa.update(tables.jobs).where(tables.jobs.c.id.in_(job_ids)).values(changed_at=ago))


def later(bench: Bench) -> None:
    """Pictures that nobody names have waited for long enough."""
    with bench.ctx.ledger.begin() as tx:
        tx.execute(sa.update(tables.removals).values(due_at=tx.now))


def files(bench: Bench) -> set[str]:
    store = bench.ctx.store
    if isinstance(store, S3Store):
        return {each["path"] for each in obstore.list(store._objects).collect()}
    assert isinstance(store, FolderStore)
    found = (path.relative_to(store.root) for path in store.root.rglob("*") if path.is_file())
    return {str(path) for path in found if path.parts[0] != ".parts"}


def film(job_id: str) -> str:
    return f"default/{job_id}/0.mp4"


PICTURE_FILE = f"inputs/{NAME[:2]}/{NAME}"


class TestFiles:
    def test_films_of_jobs_that_ended_long_ago_go_and_the_rest_stays(self, kept: Bench) -> None:
        old, young = completed(kept), completed(kept)
        settled(kept)
        aged(kept, old)
        before = [len(kept.rows(table)) for table in (tables.jobs, tables.timeline, tables.outputs, tables.charges)]
        kept.turn("sweep")
        assert files(kept) == {film(young)}
        assert [len(kept.rows(table)) for table in (tables.jobs, tables.timeline, tables.outputs, tables.charges)] == (
            before
        )
        assert kept.rows(tables.removals) == []
        shown = {job_id: kept.view(job_id) for job_id in (old, young)}
        assert {job_id: view.outputs[0].kept for job_id, view in shown.items() if view} == {old: False, young: True}

    def test_without_a_setting_all_is_kept_for_good(self, kept: Bench) -> None:
        kept = with_policy(kept, outputs_days=0.0)
        job_id = completed(kept)
        settled(kept)
        aged(kept, job_id, days=10_000)
        kept.turn("sweep")
        assert files(kept) == {film(job_id)}

    def test_a_view_that_has_expired_is_not_brought_back(self, kept: Bench) -> None:
        job_id = completed(kept)
        settled(kept)
        kept.ctx.pulse.redis.delete(keys.view(job_id))
        aged(kept, job_id)
        kept.turn("sweep")
        assert kept.view(job_id) is None

    @pytest.mark.parametrize("reason", ["lease", "delivery", "settle"])
    def test_a_job_for_which_something_is_still_to_be_done_keeps_its_files(self, kept: Bench, reason: str) -> None:
        job_id = completed(kept)
        settled(kept)
        aged(kept, job_id)
        with kept.ctx.ledger.begin() as tx:
            hold(tx, job_id, reason)
        kept.turn("sweep")
        assert files(kept) == {film(job_id)}
        with kept.ctx.ledger.begin() as tx:
            let_go(tx, job_id, reason)
        kept.turn("sweep")
        assert files(kept) == set()

    def test_jobs_that_have_to_wait_hold_up_no_others(self, kept: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pruning, "BATCH", 1)
        waiting, free = completed(kept), completed(kept)
        settled(kept)
        aged(kept, waiting, days=DAYS + 9)
        aged(kept, free)
        with kept.ctx.ledger.begin() as tx:
            hold(tx, waiting, "delivery")
        kept.turn("sweep")
        assert files(kept) == {film(waiting)}

    def test_files_of_a_job_that_failed_before_all_were_kept_go_too(self, kept: Bench) -> None:
        job_id = kept.generating()
        kept.provider.polls.append(Completed((RemoteOutput("video", "https://films.example/0.mp4"),), FILM.usage))
        kept.look()
        part = kept.ctx.store.part(film(job_id))
        part.write_bytes(FILM_BYTES)
        kept.ctx.store.commit(part, film(job_id))
        operating.cancel(kept.ctx, job_id)
        settled(kept)
        aged(kept, job_id)
        kept.turn("sweep")
        assert files(kept) == set()

    def test_a_batch_at_a_time_and_at_once_again(self, kept: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pruning, "BATCH", 2)
        job_ids = [completed(kept) for _ in range(3)]
        settled(kept)
        aged(kept, *job_ids)
        assert kept.turn("sweep") == 0.0
        assert len(files(kept)) == 1
        kept.turn("sweep")
        assert files(kept) == set()


def hold(tx: Any, job_id: str, reason: str) -> None:
    """Leave something to be done for a job that has ended."""
    then = tx.now + timedelta(hours=1)
    if reason == "lease":
        tx.execute(sa.update(tables.jobs).where(tables.jobs.c.id == job_id).values(lease_until=then))
    elif reason == "settle":
        tx.execute(sa.update(tables.attempts).where(tables.attempts.c.job_id == job_id).values(settle_at=then))
    else:
        owe(tx, job_id, "default", 99, State.COMPLETED, "https://callers.example")


def let_go(tx: Any, job_id: str, reason: str) -> None:
    table, column = {
        "lease": (tables.jobs, "lease_until"),
        "settle": (tables.attempts, "settle_at"),
        "delivery": (tables.webhooks, "due_at"),
    }[reason]
    owner = table.c.id if table is tables.jobs else table.c.job_id
    tx.execute(sa.update(table).where(owner == job_id).values({column: None}))


class TestPictures:
    def test_a_picture_goes_after_the_last_job_that_names_it(self, kept: Bench) -> None:
        first, second = (completed(kept, first_frame_image=data_url(PICTURE)) for _ in range(2))
        settled(kept)
        aged(kept, first)
        kept.turn("sweep")
        later(kept)
        kept.turn("sweep")
        assert files(kept) == {film(second), PICTURE_FILE}
        assert kept.rows(tables.removals) == []
        aged(kept, second)
        kept.turn("sweep")
        assert files(kept) == {PICTURE_FILE}, "a request may be on its way in that has just found it"
        later(kept)
        kept.turn("sweep")
        assert files(kept) == set()

    def test_a_job_that_waits_keeps_its_picture(self, kept: Bench) -> None:
        old = completed(kept, last_frame_image=data_url(PICTURE), first_frame_image=data_url(PICTURE))
        waiting = kept.submit(first_frame_image=data_url(PICTURE))
        settled(kept)
        aged(kept, old, waiting, days=99)
        for _ in range(2):
            kept.turn("sweep")
            later(kept)
        assert files(kept) == {PICTURE_FILE}

    def test_a_request_that_comes_meanwhile_keeps_the_picture(self, kept: Bench) -> None:
        old = completed(kept, first_frame_image=data_url(PICTURE))
        settled(kept)
        aged(kept, old)
        kept.turn("sweep")
        assert [row.name for row in kept.rows(tables.removals)] == [NAME]
        job_id = kept.submit(first_frame_image=data_url(PICTURE))
        assert kept.rows(tables.removals) == []
        kept.turn("sweep")
        assert files(kept) == {PICTURE_FILE}
        assert [row.job_id for row in kept.rows(tables.inputs)] == [job_id]

    def test_a_request_waits_while_its_picture_is_being_removed(self, kept: Bench) -> None:
        old = completed(kept, first_frame_image=data_url(PICTURE))
        settled(kept)
        aged(kept, old)
        kept.turn("sweep")
        with kept.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.removals).values(due_at=tx.now, claimed_until=tx.now + timedelta(hours=1)))
        handle = kept.producer.submit(model="minimax_hailuo_02_i2v", first_frame_image=data_url(PICTURE))
        with pytest.raises(StoreAway, match="just being removed"):
            kept.turn("accept")
        with kept.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.removals).values(claimed_until=tx.now))
        kept.turn("sweep")  # whoever was at it has died
        assert files(kept) == set()
        kept.turn("accept")
        assert kept.state(handle.id) is State.QUEUED
        assert files(kept) == {PICTURE_FILE}

    def test_a_picture_that_could_not_be_removed_keeps_no_request_out(
        self, kept: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*_: Any) -> Any:
            raise StoreAway("the object store says AccessDenied")

        old = completed(kept, first_frame_image=data_url(PICTURE))
        settled(kept)
        aged(kept, old)
        kept.turn("sweep")
        later(kept)
        with monkeypatch.context() as patch:
            patch.setattr(type(kept.ctx.store), "remove_input", refused)
            kept.turn("sweep")
        assert [row.failed for row in kept.rows(tables.removals)] == [True]
        assert kept.state(kept.submit(first_frame_image=data_url(PICTURE))) is State.QUEUED
        assert kept.rows(tables.removals) == []

    def test_a_failed_job_that_is_tried_again_keeps_its_picture_while_it_is_there(self, kept: Bench) -> None:
        job_id = rejected(kept)
        kept.turn("sweep")
        operating.retry(kept.ctx, job_id)
        assert kept.rows(tables.removals) == []
        assert [row.job_id for row in kept.rows(tables.inputs)] == [job_id]
        assert [row.pruned_at for row in kept.rows(tables.jobs)] == [None]

    def test_a_failed_job_whose_picture_is_gone_is_not_tried_again(self, kept: Bench) -> None:
        job_id = rejected(kept)
        kept.turn("sweep")
        later(kept)
        kept.turn("sweep")
        assert files(kept) == set()
        for anew in (False, True):
            with pytest.raises(operating.NotPossible, match="not kept any more: submit it again"):
                operating.retry(kept.ctx, job_id, anew=anew)
        assert kept.state(job_id) is State.FAILED

    def test_a_failed_job_is_not_tried_again_while_its_files_are_being_removed(self, kept: Bench) -> None:
        job_id = rejected(kept)
        kept.turn("sweep")
        with kept.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.removals).values(claimed_until=tx.now + timedelta(hours=1)))
        with pytest.raises(operating.NotPossible, match="just being removed"):
            operating.retry(kept.ctx, job_id)


def rejected(bench: Bench) -> str:
    """A job of a picture of ours that failed long ago, before anything was created."""
    job_id = bench.admitted(first_frame_image=data_url(PICTURE))
    bench.provider.creates.append(Rejected("2013", "bad"))
    create(job_id)
    assert bench.state(job_id) is State.FAILED
    settled(bench)
    aged(bench, job_id)
    return job_id


class TestDeaths:
    """Whoever prunes may die at any moment; the next turn goes on."""

    @pytest.mark.parametrize("place", ["prune.files.after_commit", "prune.claim.after_commit", "prune.after_remove"])
    def test_nothing_is_promised_that_is_gone_and_nothing_is_forgotten(
        self, kept: Bench, monkeypatch: pytest.MonkeyPatch, place: str
    ) -> None:
        job_id = completed(kept, first_frame_image=data_url(PICTURE))
        settled(kept)
        aged(kept, job_id)
        with monkeypatch.context() as patch:
            patch.setattr("tasks.failpoints._armed", {place: dies})
            with pytest.raises(Died):
                kept.turn("sweep")
        with kept.ctx.ledger.read() as tx:
            report = reports.job_report(tx, job_id)
        assert report is not None
        assert [output.kept for output in report.outputs] == [False]
        with kept.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.removals).values(due_at=tx.now, claimed_until=None))
        kept.turn("sweep")
        assert files(kept) == set()
        assert kept.rows(tables.removals) == []

    def test_while_somebody_is_at_it_nobody_else_begins(self, kept: Bench) -> None:
        job_id = completed(kept)
        settled(kept)
        aged(kept, job_id)
        with kept.ctx.ledger.begin() as tx:
            row = {"name": "other", "due_at": tx.now, "claimed_until": tx.now + timedelta(hours=1)}
            tx.execute(sa.insert(tables.removals), row)
        kept.turn("sweep")
        assert files(kept) == {film(job_id)}

    def test_a_store_that_is_away_is_left_alone_for_a_while_and_nothing_is_forgotten(
        self, kept: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = completed(kept, first_frame_image=data_url(PICTURE))
        settled(kept)
        aged(kept, job_id)
        asked: list[str] = []

        def away(_self: Any, _tenant: str, job_id: str) -> Any:
            asked.append(job_id)
            raise StoreAway("it is away")

        with monkeypatch.context() as patch:
            patch.setattr(type(kept.ctx.store), "remove_outputs", away)
            for _ in range(3):
                kept.turn("sweep")
        assert asked == [job_id]
        assert kept.submit(first_frame_image=data_url(PICTURE)), "nobody is kept out by it"
        with kept.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.removals).values(claimed_until=tx.now))
        kept.turn("sweep")
        assert files(kept) == {PICTURE_FILE}


class Died(BaseException):
    pass


def dies(_place: str) -> None:
    raise Died


class TestJobs:
    @pytest.fixture
    def forgetful(self, kept: Bench) -> Bench:
        return with_policy(kept, jobs_days=2 * DAYS)

    def test_a_job_goes_with_all_that_is_its_and_every_cent_stays(self, forgetful: Bench) -> None:
        old, young = (completed(forgetful, first_frame_image=data_url(PICTURE)) for _ in range(2))
        settled(forgetful)
        before = money(forgetful)
        aged(forgetful, old, days=3 * DAYS)
        with forgetful.ctx.ledger.begin() as tx:
            hold(tx, old, "delivery")
            let_go(tx, old, "delivery")
        forgetful.turn("sweep")
        assert {row.id for row in forgetful.rows(tables.jobs)} == {young}
        for table in (tables.timeline, tables.attempts, tables.outputs, tables.webhooks, tables.inputs):
            assert old not in {row.job_id for row in forgetful.rows(table)}
        assert money(forgetful) == before
        paid = {(row.job_id, row.pruned_job_id) for row in forgetful.rows(tables.charges)}
        assert paid == {(None, old), (young, None)}
        assert forgetful.view(old) is None
        assert forgetful.view(young) is not None

    @pytest.mark.parametrize("reason", ["lease", "delivery", "settle"])
    def test_a_job_for_which_something_is_still_to_be_done_stays(self, forgetful: Bench, reason: str) -> None:
        job_id = completed(forgetful)
        settled(forgetful)
        aged(forgetful, job_id)
        forgetful.turn("sweep")  # its files are gone by now
        aged(forgetful, job_id, days=3 * DAYS)
        with forgetful.ctx.ledger.begin() as tx:
            hold(tx, job_id, reason)
        forgetful.turn("sweep")
        assert forgetful.state(job_id) is State.COMPLETED
        with forgetful.ctx.ledger.begin() as tx:
            let_go(tx, job_id, reason)
        forgetful.turn("sweep")
        assert forgetful.rows(tables.jobs) == []

    @pytest.mark.parametrize(
        "situation",
        [Bench.submit, Bench.admitted, uncertain, Bench.generating, downloading],
        ids=lambda each: each.__name__,
    )
    def test_a_job_that_has_not_ended_stays_however_old_it_is(
        self, forgetful: Bench, situation: Callable[[Bench], str]
    ) -> None:
        job_id = situation(forgetful)
        with forgetful.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.jobs).values(lease_until=None))
        aged(forgetful, job_id, days=99)
        forgetful.turn("sweep")
        assert [row.pruned_at for row in forgetful.rows(tables.jobs)] == [None]

    def test_a_job_stays_until_its_files_are_gone(self, forgetful: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(*_: Any) -> Any:
            raise StoreAway("it is away")

        job_id = completed(forgetful)
        settled(forgetful)
        aged(forgetful, job_id, days=3 * DAYS)
        with monkeypatch.context() as patch:
            patch.setattr(type(forgetful.ctx.store), "remove_outputs", away)
            forgetful.turn("sweep")
        assert forgetful.state(job_id) is State.COMPLETED

    def test_an_idempotency_key_whose_job_is_gone_is_a_new_job_that_has_cost_nothing(self, forgetful: Bench) -> None:
        job_id = completed(forgetful, idempotency_key="order-1")
        settled(forgetful)
        aged(forgetful, job_id, days=3 * DAYS)
        forgetful.turn("sweep")
        assert forgetful.rows(tables.jobs) == []
        assert forgetful.submit(idempotency_key="order-1", prompt="another film") == job_id
        assert forgetful.state(job_id) is State.QUEUED
        with forgetful.ctx.ledger.read() as tx:
            report = reports.job_report(tx, job_id)
        assert report is not None
        assert (report.job.charged_usd, report.charges) == (None, ())


def money(bench: Bench) -> Any:
    with bench.ctx.ledger.read() as tx:
        sums = reports.costs(tx)
    spent = sorted((row.tenant, row.day, row.amount_usd) for row in bench.rows(tables.spending))
    tasks = sorted((row.provider_task_id, row.amount_usd) for row in bench.rows(tables.charges))
    return sums, spent, tasks


def test_what_is_due_is_counted_as_it_will_be_removed(kept: Bench) -> None:
    jobs = [completed(kept) for _ in range(3)]
    settled(kept)
    aged(kept, *jobs[:2])
    with kept.ctx.ledger.read() as tx:
        assert due(tx, DAYS, 0.0) == Due(2, 2, 2 * len(FILM_BYTES), 0)
        assert due(tx, DAYS, DAYS) == Due(2, 2, 2 * len(FILM_BYTES), 2)
        assert due(tx, 0.0, 0.0) == Due(0, 0, 0, 0)
    gone = pruning.prune(kept.ctx, DAYS, DAYS)
    assert (gone.jobs_without_files, gone.files, gone.size_bytes, gone.jobs) == (2, 2, 2 * len(FILM_BYTES), 2)


def test_files_are_given_up_of_jobs_that_have_ended_alone() -> None:
    words = set(re.findall(r"'(\w+)'", str(tables.IS_KEPT)))
    assert words == set(State) - TERMINAL, "a state that is new has to stand there"
