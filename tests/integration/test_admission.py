"""Admission on real databases: slots and budgets under racing lanes, lasting turns, keys and their pace."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

import tasks.admitting
import tasks.create
import tasks.ending
from schemas.jobs import State
from tasks import context
from tasks.admitting import fill
from tasks.create import create
from tasks.domain.answers import Completed, Failed, KeyRefused, Rejected, Throttled, Usage
from tasks.domain.budgets import EVERYONE, Budget, Period, WhenUsedUp
from tasks.domain.knowledge import Kind
from tasks.domain.pace import ProviderKey
from tasks.domain.sketch import Sketch
from tasks.finish import record
from tasks.ledger import tables
from tasks.ledger.admission import open_tasks
from tasks.ledger.provider_keys import known_keys, set_key
from tasks.ledger.spending import differences, recount, set_budget
from tasks.ledger.standings import budget_standings
from tasks.pulse import demand, keys
from tasks.schedule import known_of
from tests.support.bench import DONE, MODEL, Bench


def allow(bench: Bench, limit: str, tenant: str = EVERYONE, when: WhenUsedUp = WhenUsedUp.WAIT) -> None:
    with bench.ctx.ledger.begin() as tx:
        set_budget(tx, Budget(tenant, Period.DAY, Decimal(limit), when))


def used(bench: Bench, tenant: str = EVERYONE) -> Decimal:
    with bench.ctx.ledger.read() as tx:
        return next(each.used_usd for each in budget_standings(tx, 60) if each.tenant == tenant)


def with_slots(bench: Bench, slots: int, *aliases: str) -> Bench:
    """The bench with so many slots a key."""
    providers = dict.fromkeys(aliases or ("main",), bench.ctx.providers["main"])
    policy = replace(bench.ctx.policy, open_tasks_per_key=slots)
    made = replace(bench, ctx=replace(bench.ctx, policy=policy, providers=providers))
    context.install(lambda: made.ctx)
    return made


def states(bench: Bench) -> Counter[str]:
    return Counter(row.state for row in bench.rows(tables.jobs))


def key(bench: Bench, alias: str = "main") -> ProviderKey:
    with bench.ctx.ledger.begin() as tx:
        return known_keys(tx, [alias])[0]


def at_once(work: Sequence[Any]) -> None:
    gate = threading.Barrier(len(work))

    def run(each: Any) -> None:
        gate.wait()
        each()

    threads = [threading.Thread(target=run, args=(each,)) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class TestRacingLanes:
    def test_sixteen_lanes_at_once_overdraw_neither_slots_nor_budgets(self, bench: Bench) -> None:
        bench = with_slots(bench, 7, "main", "spare")
        for n in range(30):
            bench.submit(tenant="ab"[n % 2])
        allow(bench, "2.80")
        allow(bench, "1.20", "a")
        at_once([lambda: fill(bench.ctx)] * 16)
        admitted = [row for row in bench.rows(tables.jobs) if row.state == State.ADMITTED]
        assert Counter(row.tenant for row in admitted) == {"a": 4, "b": 6}
        assert max(Counter(row.key_alias for row in admitted).values()) <= 7
        assert used(bench) == Decimal("2.80")

    def test_lanes_charges_and_new_jobs_at_once_keep_to_the_budget(self, bench: Bench) -> None:
        bench = with_slots(bench, 50)
        for _ in range(12):
            bench.submit()
        allow(bench, "1.50")  # five films of 0.28
        while bench.turn("admit") or bench.messages("create"):
            ready = [row.id for row in bench.rows(tables.jobs) if row.state == State.ADMITTED]
            if not ready:
                break
            for job_id in ready:
                create(job_id)
            bench.provider.polls = [replace(DONE)] * len(ready)
            bench.look()
            with bench.ctx.ledger.begin() as tx:  # stored, as `download` would have it
                tx.execute(
                    sa.update(tables.jobs).values(state=State.RECORDING).where(tables.jobs.c.state == "downloading")
                )
            at_once([lambda job_id=job_id: record(job_id) for job_id in ready] + [lambda: fill(bench.ctx)] * 8)
        charged = sum((row.amount_usd for row in bench.rows(tables.charges)), Decimal(0))
        assert charged == Decimal("1.40")
        assert states(bench) == {"completed": 5, "queued": 7}
        assert used(bench) == charged


class TestTurns:
    def test_turns_are_kept_in_the_ledger(self, bench: Bench) -> None:
        bench = with_slots(bench, 1)
        for _ in range(5):
            bench.submit(tenant="huge")
        had = []
        for _ in range(3):
            fill(bench.ctx)
            (job,) = [row for row in bench.rows(tables.jobs) if row.state == State.ADMITTED]
            had.append(job.tenant)
            with bench.ctx.ledger.begin() as tx:
                tx.execute(sa.update(tables.jobs).where(tables.jobs.c.id == job.id).values(state=State.CANCELLED))
            if len(had) == 1:
                bench.submit(tenant="small")
        assert had == ["huge", "small", "huge"]

    def test_weights_and_limits_count_from_the_next_turn_on(self, bench: Bench) -> None:
        bench = with_slots(bench, 8)
        for n in range(40):
            bench.submit(tenant="ab"[n % 2])
        with bench.ctx.ledger.begin() as tx:
            tx.put(tables.tenants, {"name": "a"}, {"weight": 3.0})
        fill(bench.ctx)
        with bench.ctx.ledger.read() as tx:
            assert {each.tenant: each.tasks for each in open_tasks(tx, 60)} == {"a": 6, "b": 2}
        with bench.ctx.ledger.begin() as tx:
            tx.put(tables.tenants, {"name": "a"}, {"open_limit": 6})
        fill(with_slots(bench, 12).ctx)
        with bench.ctx.ledger.read() as tx:
            assert {each.tenant: each.tasks for each in open_tasks(tx, 60)} == {"a": 6, "b": 6}

    def test_priority_goes_first_within_a_tenant_and_no_job_waits_for_ever(self, bench: Bench) -> None:
        bench = with_slots(bench, 1)
        ids = {name: bench.submit(priority=priority) for name, priority in [("old", 0), ("low", -9), ("high", 9)]}
        with bench.ctx.ledger.begin() as tx:
            table = tables.jobs
            long_ago = tx.now - timedelta(seconds=bench.ctx.policy.priority_step_s * 9 + 1)
            tx.execute(sa.update(table).where(table.c.id == ids["old"]).values(turn_at=long_ago))
            later = tx.now + timedelta(hours=1)
            tx.execute(sa.update(table).where(table.c.id == ids["high"]).values(not_before=later))
        fill(bench.ctx)
        assert bench.state(ids["old"]) is State.ADMITTED
        assert {bench.state(ids["low"]), bench.state(ids["high"])} == {State.QUEUED}

    def test_a_job_whose_deadline_has_passed_gets_no_slot(self, bench: Bench) -> None:
        late, other = bench.submit(deadline_s=1), bench.submit()
        with bench.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.jobs).where(tables.jobs.c.id == late).values(deadline_at=tx.now))
        fill(bench.ctx)
        assert (bench.state(late), bench.state(other)) == (State.QUEUED, State.ADMITTED)

    def test_jobs_of_the_version_before_have_no_place_and_go_first(self, bench: Bench) -> None:
        bench = with_slots(bench, 1)
        ids = [bench.submit(), bench.submit()]
        with bench.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.jobs).where(tables.jobs.c.id == ids[1]).values(turn_at=None))
        fill(bench.ctx)
        assert [bench.state(job_id) for job_id in ids] == [State.QUEUED, State.ADMITTED]


class TestPlaces:
    def test_who_waits_sees_its_place_and_when_it_is_likely_to_start(self, bench: Bench) -> None:
        bench = with_slots(bench, 1)
        ids = [bench.submit(priority=priority) for priority in (0, 0, 5)]
        assert [self.info(bench, each)["queue_position"] for each in ids] == [2, 3, 1]
        assert self.info(bench, ids[0])["estimated_start_at"] is None
        fill(bench.ctx)
        assert [self.info(bench, each)["queue_position"] for each in ids] == [1, 2, None]
        before, start_at = datetime.now(UTC), self.info(bench, ids[1])["estimated_start_at"]
        assert before <= start_at < before + timedelta(minutes=10)

    def test_a_wiped_redis_gets_the_lines_back_with_the_views(self, bench: Bench) -> None:
        ids = [bench.submit() for _ in range(3)]
        bench.ctx.pulse.redis.flushdb()
        bench.turn("sweep")
        assert [self.info(bench, each)["queue_position"] for each in ids] == [1, 2, 3]

    def info(self, bench: Bench, job_id: str) -> dict[str, Any]:
        return bench.producer.handle(job_id).info


class TestSlots:
    def test_slots_are_counted_from_rows(self, bench: Bench) -> None:
        done, open_job = bench.generating(), bench.generating()
        bench.provider.polls = [Failed("x", "no")]
        bench.ctx.pulse.redis.zrem("reelworks:timetable", open_job)
        bench.look()
        bench.submit()
        with bench.ctx.ledger.read() as tx:
            assert [(each.key_alias, each.tasks) for each in open_tasks(tx, 60)] == [("main", 1)]
        assert bench.state(done) is State.FAILED

    def test_an_uncertain_job_holds_its_slot_for_a_bounded_time_and_its_budget_until_resolved(
        self, bench: Bench
    ) -> None:
        job_id = bench.generating()
        with bench.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.jobs).values(state=State.UNCERTAIN))
        with bench.ctx.ledger.read() as tx:
            assert [(each.key_alias, each.tasks) for each in open_tasks(tx, 60)] == [("main", 1)]
            assert [(each.tasks, each.held_usd) for each in open_tasks(tx, 0)] == [(0, Decimal("0.28"))]
        assert bench.state(job_id) is State.UNCERTAIN

    def test_a_slot_that_falls_free_is_filled_by_whoever_frees_it(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One turn of the admit lane: then a poll and a refused create each lead to the next job by themselves."""
        for step in (tasks.ending, tasks.create):
            monkeypatch.setattr(step, "fill", fill)
        bench = with_slots(bench, 1)
        first, second, third = bench.submit(), bench.submit(), bench.submit()
        bench.turn("admit")
        assert bench.state(first) is State.ADMITTED
        create(first)
        bench.provider.polls = [Completed((), Usage(Decimal("0.28")))]
        bench.look()
        assert bench.state(second) is State.ADMITTED
        bench.provider.creates = [Rejected("1026", "no", 422)]
        create(second)
        assert bench.state(third) is State.ADMITTED

    def test_jobs_that_wait_for_a_slot_are_a_demand_and_jobs_that_wait_for_money_are_none(self, bench: Bench) -> None:
        bench = with_slots(bench, 2)
        allow(bench, "0.30", "default", WhenUsedUp.WAIT)
        bench.submit(), bench.submit()
        fill(bench.ctx)
        assert not bench.ctx.pulse.redis.exists(keys.DEMAND), "the second waits for its budget: a slot is free"
        allow(bench, "100", "default", WhenUsedUp.WAIT)
        fill(bench.ctx)
        assert not bench.ctx.pulse.redis.exists(keys.DEMAND), "none waits"
        bench.submit()
        fill(bench.ctx)
        assert 0 < int(bench.ctx.pulse.redis.ttl(keys.DEMAND)) <= 5  # type: ignore[arg-type]

    def test_a_demand_changes_how_late_an_end_may_be_seen(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(demand, "_READ_EVERY_S", 0.0)
        kind = Kind(MODEL, "768P", 6, 13)
        bench.ctx.pulse.timings.seed(MODEL, {"768P/6": Sketch({150: 100.0}, 100)})  # 20 s
        idle = known_of(bench.ctx, kind)
        bench.ctx.pulse.demand.say()
        wanted = known_of(bench.ctx, kind)
        assert idle is not None
        assert wanted is not None
        assert (idle.lag_s, wanted.lag_s) == (2.5, pytest.approx(0.3, abs=0.02))

    def test_where_no_slot_is_free_nobody_looks_at_those_that_wait(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench = with_slots(bench, 1)
        bench.submit(), bench.submit()
        fill(bench.ctx)

        def never(*_: Any) -> Any:
            raise AssertionError

        monkeypatch.setattr(tasks.admitting, "lines", never)
        assert fill(bench.ctx) == 0

    def test_a_broker_that_is_away_is_asked_once_a_batch_and_nobody_waits_out_a_lease(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.turn("sweep")  # the first one hands out everything anyway
        asked: list[int] = []
        ids = [bench.submit() for _ in range(3)]
        with monkeypatch.context() as patch:
            patch.setattr(tasks.admitting, "hint_create", lambda jobs: asked.append(len(jobs)))
            fill(bench.ctx)
        assert asked == [3]
        bench.turn("sweep")
        assert {bench.state(each) for each in ids} == {State.ADMITTED}
        assert bench.messages("create") == 3


class TestBudgets:
    def test_a_refused_job_fails_unpaid_and_says_which_budget(self, bench: Bench) -> None:
        allow(bench, "0.30", "default", WhenUsedUp.REFUSE)
        first, second = bench.submit(), bench.submit()
        bench.turn("admit")
        view = bench.view(second)
        assert bench.state(first) is State.ADMITTED
        assert view is not None
        assert (view.state, view.error_code) == (State.FAILED, "budget_used_up")
        assert "tenant default a day (0.30 USD) is used up" in (view.error_message or "")
        assert bench.rows(tables.attempts) == []

    def test_a_raised_budget_lets_those_go_that_waited(self, bench: Bench) -> None:
        allow(bench, "0.27")
        allow(bench, "0.28")
        ids = [bench.submit(), bench.submit()]
        bench.turn("admit")
        assert [bench.state(each) for each in ids] == [State.ADMITTED, State.QUEUED]
        allow(bench, "0.56")
        bench.turn("admit")
        assert bench.state(ids[1]) is State.ADMITTED

    def test_max_cost_usd_of_a_job(self, bench: Bench) -> None:
        job_id = bench.submit(max_cost_usd="0.27")
        bench.turn("admit")
        view = bench.view(job_id)
        assert view is not None
        assert view.error_code == "max_cost_exceeded"

    def test_holds_follow_what_films_really_cost(self, bench: Bench) -> None:
        bench = with_slots(bench, 50)
        for _ in range(5):
            bench.generating()
        bench.provider.polls = [Failed("x", "no", Usage(Decimal("0.50")))] * 5
        bench.look()
        job_id = bench.submit()
        fill(bench.ctx)
        with bench.ctx.ledger.read() as tx:
            held = tx.execute(sa.select(tables.jobs.c.hold_usd).where(tables.jobs.c.id == job_id)).scalar_one()
        assert held == Decimal("0.50")

    def test_sums_are_those_of_the_charges_and_can_be_counted_again(self, bench: Bench) -> None:
        for tenant in "ba":
            bench.generating(tenant=tenant)
        bench.provider.polls = [Failed("x", "no", Usage(Decimal("0.11")))] * 2
        bench.look()
        with bench.ctx.ledger.begin() as tx:
            assert differences(tx) == {}
            sums = {(row.tenant, row.day): row.amount_usd for row in tx.execute(sa.select(tables.spending))}
            assert sums == {(tenant, tx.now.date()): Decimal("0.11") for tenant in "ab"}
            tx.execute(sa.update(tables.spending).where(tables.spending.c.tenant == "a").values(amount_usd=Decimal(1)))
            assert recount(tx) == {("a", tx.now.date()): (Decimal("1.00"), Decimal("0.11"))}
            assert differences(tx) == {}


class TestKeys:
    def test_a_throttled_key_slows_down_and_its_job_goes_on_with_another(self, bench: Bench) -> None:
        bench = with_slots(bench, 5, "main", "spare")
        bench.provider.creates = [Throttled(600.0)]
        job_id = bench.submit()
        fill(bench.ctx)
        create(job_id)
        (first,) = {row.key_alias for row in bench.rows(tables.attempts)}
        slowed = key(bench, first)
        assert (slowed.pause_reason, slowed.slowed_to) == ("throttled", 6.0)
        assert slowed.paused_until is not None
        assert slowed.paused_until > datetime.now(UTC) + timedelta(seconds=500)
        fill(bench.ctx)
        create(job_id)
        assert bench.state(job_id) is State.GENERATING
        assert {row.key_alias for row in bench.rows(tables.attempts)} == {"main", "spare"}

    def test_a_refused_key_is_opened_again_by_one_probe(self, bench: Bench) -> None:
        bench = with_slots(bench, 5)
        bench.provider.creates = [KeyRefused("http_401", "no", 401)]
        ids = [bench.submit() for _ in range(3)]
        fill(bench.ctx)
        create(ids[0])
        assert (key(bench).refusals, key(bench).pause_reason) == (1, "http_401: no")
        with bench.ctx.ledger.begin() as tx:
            tx.execute(sa.update(tables.jobs).values(state=State.QUEUED, not_before=None))
            set_key(tx, "main", paused_until=None)
        fill(bench.ctx)
        assert states(bench) == {"admitted": 1, "queued": 2}
        (probe,) = [row.id for row in bench.rows(tables.jobs) if row.state == State.ADMITTED]
        create(probe)
        fill(bench.ctx)
        assert states(bench) == {"generating": 1, "admitted": 2}
        assert key(bench).refusals == 0

    def test_a_key_closed_by_a_person_takes_nothing_new(self, bench: Bench) -> None:
        with bench.ctx.ledger.begin() as tx:
            set_key(tx, "main", closed=True)
        job_id = bench.submit()
        fill(bench.ctx)
        assert bench.state(job_id) is State.QUEUED

    def test_creates_come_at_the_pace_of_the_key(self, bench: Bench) -> None:
        bench = with_slots(bench, 50)
        with bench.ctx.ledger.begin() as tx:
            set_key(tx, "main", creates_per_minute=3.0)
        for _ in range(5):
            bench.submit()
        for _ in range(3):
            fill(bench.ctx)
        assert states(bench) == {"admitted": 1, "queued": 4}
        then = key(bench).next_create_at
        assert then is not None
        assert then > datetime.now(UTC) + timedelta(seconds=10)
