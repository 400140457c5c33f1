"""Pauses on both databases: once one is committed no create begins, and nothing else stops."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

import tasks.admitting
import tasks.create
from schemas.jobs import State
from tasks import context, operating, pausing
from tasks.admitting import fill
from tasks.create import create
from tasks.domain.answers import Accepted
from tasks.domain.pace import ProviderKey
from tasks.domain.pauses import Pause, Scope
from tasks.finish import download, record
from tasks.ledger import Ledger, tables
from tasks.ledger.pauses import pauses_for, pauses_now
from tasks.ledger.provider_keys import known_keys
from tests.support.bench import MODEL, URL, Bench
from tests.support.situations import FILM, uncertain, with_policy
from tests.support.waiting import wait_until

WHO = "ops@host"
JOBS = 150
EACH = ((Scope.ALL, ""), (Scope.TENANT, "default"), (Scope.KEY, "main"))


def pause(bench: Bench, scope: Scope = Scope.ALL, name: str = "", **options: Any) -> pausing.Paused:
    return pausing.pause(bench.ctx, scope, name, by=WHO, **options)


def in_force(bench: Bench) -> list[Pause]:
    with bench.ctx.ledger.read() as tx:
        return pauses_now(tx)


def two_keys(bench: Bench, slots: int = 3) -> Bench:
    made = with_policy(bench, open_tasks_per_key=slots)
    made = replace(made, ctx=replace(made.ctx, providers=dict.fromkeys(("main", "spare"), bench.ctx.providers["main"])))
    context.install(lambda: made.ctx)
    return made


def keys_of(bench: Bench, *states: State) -> set[str | None]:
    return {row.key_alias for row in bench.rows(tables.jobs) if row.state in states}


class TestWhatStops:
    def test_while_all_is_paused_jobs_are_accepted_and_wait(self, bench: Bench) -> None:
        made = pause(bench, reason="provider down")
        assert (made.before, made.taken_back) == (False, ())
        ids = [bench.submit(), bench.submit(tenant="film", max_cost_usd="0.01")]
        assert fill(bench.ctx) == 0
        bench.turn("admit")
        assert {bench.state(each) for each in ids} == {State.QUEUED}, "nothing is refused either"
        pausing.resume(bench.ctx, Scope.ALL)
        fill(bench.ctx)
        assert [bench.state(each) for each in ids] == [State.ADMITTED, State.FAILED]

    def test_a_tenants_pause_stops_its_jobs_alone(self, bench: Bench) -> None:
        pause(bench, Scope.TENANT, "film")
        film, other = bench.submit(tenant="film"), bench.submit(tenant="other")
        fill(bench.ctx)
        assert (bench.state(film), bench.state(other)) == (State.QUEUED, State.ADMITTED)
        with bench.ctx.ledger.read() as tx:
            assert [each.name for each in pauses_for(tx, "film")] == ["film"]
            assert pauses_for(tx, "other") == []

    def test_a_keys_pause_leaves_the_other_keys_their_turn(self, bench: Bench) -> None:
        bench = two_keys(bench)
        pause(bench, Scope.KEY, "main", reason="rests")
        for _ in range(5):
            bench.submit()
        fill(bench.ctx)
        assert keys_of(bench, State.ADMITTED) == {"spare"}
        (said,) = in_force(bench)
        assert (said.of, said.by, said.reason) == ("key main", WHO, "rests")

    @pytest.mark.usefixtures("quick_films")
    def test_what_is_under_way_goes_on_to_its_end(self, bench: Bench) -> None:
        job_id = bench.generating()
        for scope, name in EACH:
            pause(bench, scope, name)
        bench.provider.polls.append(FILM)
        bench.look()
        download(job_id)
        record(job_id)
        assert bench.state(job_id) is State.COMPLETED
        assert [row.amount_usd for row in bench.rows(tables.charges)] == [Decimal("0.28")]

    def test_a_create_in_doubt_stays_what_it_is_and_one_anew_waits(self, bench: Bench) -> None:
        job_id = uncertain(bench)
        pause(bench)
        assert bench.state(job_id) is State.UNCERTAIN
        operating.create_anew(bench.ctx, job_id)
        fill(bench.ctx)
        assert bench.state(job_id) is State.QUEUED
        assert len(bench.provider.created) == 1


class TestNoCreateFollows:
    def test_whoever_has_a_slot_and_no_create_waits_again(self, bench: Bench) -> None:
        job_id = bench.admitted()
        made = pause(bench)
        assert made.taken_back == (job_id,)
        create(job_id)  # its message was on its way
        view = bench.view(job_id)
        assert view is not None
        assert view.state is bench.state(job_id) is State.QUEUED
        assert bench.rows(tables.attempts) == []
        bench.turn("sweep")
        pausing.resume(bench.ctx, Scope.ALL)
        fill(bench.ctx)
        create(job_id)
        assert len(bench.provider.created) == 1

    @pytest.mark.parametrize(("scope", "name"), [(Scope.TENANT, "film"), (Scope.KEY, "main")])
    def test_only_jobs_of_what_is_paused_are_taken_back(self, bench: Bench, scope: Scope, name: str) -> None:
        bench = two_keys(bench, slots=2)
        for n in range(4):
            bench.submit(tenant=("film", "other")[n % 2])
        fill(bench.ctx)
        before = {row.id: (row.tenant, row.key_alias) for row in bench.rows(tables.jobs)}
        taken_back = pause(bench, scope, name).taken_back
        assert {name in before[each] for each in taken_back} == {True}
        assert len(taken_back) == 2
        assert sum(row.state == State.ADMITTED for row in bench.rows(tables.jobs)) == 2

    def test_a_worker_that_is_about_to_begin_finds_its_job_moved_on(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = bench.admitted()
        body = tasks.create.create_body

        def paused_meanwhile(*args: Any, **options: Any) -> Any:
            pause(bench)
            return body(*args, **options)

        monkeypatch.setattr(tasks.create, "create_body", paused_meanwhile)
        create(job_id)
        assert bench.provider.created == []
        assert bench.rows(tables.attempts) == []
        assert bench.state(job_id) is State.QUEUED

    def test_a_create_that_has_begun_is_heard_to_its_end(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        job_id = bench.admitted()

        def paused_meanwhile(_body: Any) -> Accepted:
            assert pause(bench).taken_back == ()
            return Accepted("task-of-then")

        monkeypatch.setattr(bench.provider, "create", paused_meanwhile)
        create(job_id)
        assert bench.state(job_id) is State.GENERATING

    def test_a_pause_waits_for_who_is_just_admitting_and_takes_that_back(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else it would be committed before the admission that has not seen it."""
        ids = [bench.submit() for _ in range(3)]
        thread = threading.Thread(target=lambda: pause(bench))
        lines = tasks.admitting.lines

        def paused_meanwhile(tx: Any) -> Any:
            thread.start()
            if tx.dialect == "postgresql":  # SQLite has one writer: it waits anyway
                wait_until(lambda: not thread.is_alive() or bench.someone_waits(), what="the pause, or its waiting")
                assert thread.is_alive()
            return lines(tx)

        monkeypatch.setattr(tasks.admitting, "lines", paused_meanwhile)
        assert fill(bench.ctx) == 3
        thread.join()
        monkeypatch.undo()
        for job_id in ids:
            create(job_id)
        assert bench.provider.created == []
        assert {bench.state(each) for each in ids} == {State.QUEUED}
        assert fill(bench.ctx) == 0

    def test_among_lanes_and_creates_at_full_speed_none_begins_after_it(self, bench: Bench) -> None:
        bench = with_policy(bench, open_tasks_per_key=500, admit_batch=3)
        asked = {"model": MODEL, "first_frame_image": URL}
        bench.producer.submit_many([asked] * JOBS)
        wait_until(lambda: bench.turn("accept") >= 0 and len(bench.rows(tables.jobs)) == JOBS, what="all jobs")
        counted: list[int] = []
        begun, over = threading.Event(), threading.Event()

        def work() -> None:
            while not over.is_set():
                fill(bench.ctx)
                for row in bench.rows(tables.jobs):
                    if row.state == State.ADMITTED:
                        create(row.id)
                        begun.set()

        def stop() -> None:
            begun.wait(30)
            pause(bench)
            counted.append(len(bench.rows(tables.attempts)))

        workers = [threading.Thread(target=work) for _ in range(3)]
        stopper = threading.Thread(target=stop)
        for thread in (*workers, stopper):
            thread.start()
        stopper.join()
        assert fill(bench.ctx) == 0
        over.set()
        for thread in workers:
            thread.join()
        assert counted == [len(bench.rows(tables.attempts))]
        assert counted == [len(bench.provider.created)]
        assert 0 < counted[0] < JOBS
        states = {row.state for row in bench.rows(tables.jobs)}
        assert states == {State.GENERATING, State.QUEUED}


class TestHowItStands:
    def test_it_outlives_a_wiped_redis_and_whoever_said_it(self, bench: Bench, database_url: str) -> None:
        job_id = bench.submit()
        pause(bench, reason="upgrade")
        bench.ctx.pulse.redis.flushdb()
        with closing(Ledger(database_url)) as ledger:
            later = replace(bench, ctx=replace(bench.ctx, ledger=ledger))
            context.install(lambda: later.ctx)
            for lane in ("sweep", "admit", "sweep"):
                later.turn(lane)
            assert later.state(job_id) is State.QUEUED
            (said,) = in_force(later)
        assert (said.of, said.by, said.reason, said.until) == ("all", WHO, "upgrade", None)

    def test_one_with_an_end_ends_by_itself(self, bench: Bench) -> None:
        job_id = bench.submit()
        for scope, name in EACH:
            made = pause(bench, scope, name, for_s=7200).pause
            assert made.at is not None
            assert made.until == made.at + timedelta(hours=2)
        for table, column in ((tables.pauses, "ends_at"), (tables.provider_keys, "closed_until")):
            bench.turn("admit")
            assert bench.state(job_id) is State.QUEUED
            with bench.ctx.ledger.begin() as tx:
                tx.execute(sa.update(table).values({column: tx.now}))
        assert in_force(bench) == []
        bench.turn("admit")
        assert bench.state(job_id) is State.ADMITTED

    def test_said_again_it_keeps_its_beginning_and_its_reason(self, bench: Bench) -> None:
        for scope, name in EACH:
            first = pause(bench, scope, name, reason="why", for_s=60).pause
            again = pausing.pause(bench.ctx, scope, name, by="another")
            assert (again.before, again.pause.at, again.pause.by) == (True, first.at, "another")
            assert (again.pause.reason, again.pause.until) == ("why", None)
            assert in_force(bench) == [again.pause]
            assert pausing.resume(bench.ctx, scope, name) == again.pause
            assert pausing.resume(bench.ctx, scope, name) is None
            assert in_force(bench) == []
            assert pause(bench, scope, name).pause.reason is None, "a new one has its own"
            pausing.resume(bench.ctx, scope, name)

    def test_they_stand_beside_each_other(self, bench: Bench) -> None:
        for scope, name in ((Scope.KEY, "main"), (Scope.TENANT, "film"), (Scope.ALL, "")):
            pause(bench, scope, name)
        pausing.resume(bench.ctx, Scope.TENANT, "film")
        assert [each.of for each in in_force(bench)] == ["all", "key main"]

    def test_nobody_is_told_that_slots_are_wanted_while_none_may_be_taken(self, bench: Bench) -> None:
        pause(bench)
        bench.submit()
        fill(bench.ctx)
        assert not bench.ctx.pulse.demand.is_there()

    @pytest.mark.parametrize(
        ("paused", "wanted"),
        [
            (((Scope.KEY, "main"), (Scope.KEY, "spare")), False),
            (((Scope.KEY, "main"),), True),
            (((Scope.TENANT, "film"),), False),
            (((Scope.TENANT, "other"),), True),
        ],
    )
    def test_slots_are_wanted_only_where_one_would_be_given(
        self, bench: Bench, paused: tuple[tuple[Scope, str], ...], *, wanted: bool
    ) -> None:
        bench = two_keys(bench, slots=0)
        bench.submit(tenant="film")
        for scope, name in paused:
            pause(bench, scope, name)
        fill(bench.ctx)
        assert bench.ctx.pulse.demand.is_there() is wanted


def test_an_ended_pause_of_a_key_is_none_at_once_and_leaves_its_row_with_the_sweep(bench: Bench) -> None:
    def row() -> tuple[Any, ...]:
        (found,) = bench.rows(tables.provider_keys)
        return found.closed, found.closed_at, found.closed_by, found.closed_reason, found.closed_until

    pause(bench, Scope.KEY, "main", reason="rests", for_s=60)
    bench.turn("sweep")
    assert row()[0]
    with bench.ctx.ledger.begin() as tx:
        tx.execute(sa.update(tables.provider_keys).values(closed_until=tx.now))
    with bench.ctx.ledger.read() as tx:
        assert known_keys(tx, ["main"]) == [ProviderKey("main")]
    bench.turn("sweep")
    assert row() == (False, None, None, None, None)
    with bench.ctx.ledger.begin() as tx:  # as the version before closes it
        tx.put(tables.provider_keys, {"alias": "main"}, {"closed": True})
    bench.turn("sweep")
    assert in_force(bench) == [Pause(Scope.KEY, "main")]


def test_a_key_closed_by_the_version_before_is_a_pause_of_nobody_known(bench: Bench) -> None:
    with bench.ctx.ledger.begin() as tx:
        tx.put(tables.provider_keys, {"alias": "main"}, {"closed": True})
    assert in_force(bench) == [Pause(Scope.KEY, "main")]
    pausing.resume(bench.ctx, Scope.KEY, "main")
    assert in_force(bench) == []
