"""Who may take the next slot: whose turn it is, within what budgets leave, and how many slots a key has free."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.admission import Line, Refusal, Turn, WaitingJob, next_turns
from tasks.domain.budgets import Budget, Period, Purse, WhenUsedUp
from tasks.domain.pace import ProviderKey, after_creates, free_slots, probe_after_s, slowed_to

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
USD = Decimal("0.28")


def seconds(count: float) -> datetime:
    return NOW + timedelta(seconds=count)


class House:
    """Tenants with waiting jobs, from round to round: what the ledger does for admission, in memory."""

    def __init__(self, waiting: Mapping[str, Sequence[str]], weights: Mapping[str, float] | None = None) -> None:
        self.waiting = {tenant: list(jobs) for tenant, jobs in waiting.items()}
        self.weights = dict(weights or {})
        self.tags: dict[str, float] = {}
        self.budgets: list[Budget] = []
        self.limits: dict[str, int] = {}

    def jobs_of(self, tenant: str) -> Iterator[WaitingJob]:
        return (WaitingJob(job, USD) for job in list(self.waiting[tenant][:20]))

    def round(self, slots: int) -> list[str]:
        """The tenants that had turns, in their order."""
        lines = [
            Line(tenant, self.weights.get(tenant, 1.0), self.tags.get(tenant), self.limits.get(tenant))
            for tenant, jobs in self.waiting.items()
            if jobs
        ]
        decided = next_turns(
            lines, self.jobs_of, {"main": slots}, Purse(self.budgets), max(self.tags.values(), default=0.0)
        )
        turns = [each for each in decided if isinstance(each, Turn)]
        for turn in turns:
            assert self.waiting[turn.tenant].pop(0) == turn.job_id, "a tenant's jobs go in their order"
            self.tags[turn.tenant] = turn.tag
        return [turn.tenant for turn in turns]


def many(name: str, count: int) -> list[str]:
    return [f"{name}-{n}" for n in range(count)]


class TestTurns:
    def test_a_newcomer_waits_for_no_more_than_one_turn_of_a_huge_tenant(self) -> None:
        house = House({"huge": many("h", 10_000)})
        for _ in range(50):
            house.round(1)
        house.waiting["small"] = many("s", 1)
        assert "small" in house.round(2)

    def test_tenants_take_turns_by_their_weight(self) -> None:
        house = House({"a": many("a", 400), "b": many("b", 400)}, {"a": 3.0})
        had = Counter(tenant for _ in range(40) for tenant in house.round(5))
        assert abs(had["a"] - 150) <= 3
        assert had["a"] + had["b"] == 200

    def test_who_was_away_has_saved_nothing_up(self) -> None:
        house = House({"a": many("a", 100), "b": many("b", 3)})
        for _ in range(60):
            house.round(1)
        house.waiting["b"] = many("late", 100)
        had = Counter(tenant for _ in range(20) for tenant in house.round(1))
        assert abs(had["a"] - had["b"]) <= 1

    def test_more_tenants_than_slots_have_their_turns_one_after_the_other(self) -> None:
        house = House({f"t{n}": many(f"t{n}", 50) for n in range(30)})
        had = Counter(tenant for _ in range(6) for tenant in house.round(20))
        assert set(had.values()) == {4}

    def test_a_tenant_at_its_limit_leaves_its_turn_to_others(self) -> None:
        house = House({"a": many("a", 9), "b": many("b", 9)})
        house.limits = {"a": 1, "b": 9}
        assert Counter(house.round(6)) == {"a": 1, "b": 5}
        house.limits["a"] = 0
        assert Counter(house.round(3)) == {"b": 3}

    def test_a_slot_of_the_key_with_the_most_left_goes_first(self) -> None:
        jobs = [WaitingJob(name, USD) for name in "xyz"]
        decided = next_turns([Line("t")], lambda _: iter(jobs), {"a": 1, "b": 2}, Purse([]))
        assert [each.key_alias for each in decided if isinstance(each, Turn)] == ["b", "a", "b"]

    @pytest.mark.parametrize("free", [{}, {"a": 0}])
    def test_without_slots_nobody_is_looked_at(self, free: dict[str, int]) -> None:
        def never(_tenant: str) -> Iterator[WaitingJob]:
            raise AssertionError
            yield

        assert next_turns([Line("t")], never, free, Purse([])) == []

    def test_a_job_that_may_cost_more_than_its_owner_pays_is_refused_and_holds_nobody_up(self) -> None:
        jobs = [WaitingJob("dear", USD, Decimal("0.27")), WaitingJob("fair", USD, Decimal("0.28"))]
        refusal, turn = next_turns([Line("t")], lambda _: iter(jobs), {"a": 5}, Purse([]))
        assert isinstance(refusal, Refusal)
        assert (refusal.job_id, refusal.code) == ("dear", "max_cost_exceeded")
        assert "0.27" in refusal.reason
        assert isinstance(turn, Turn)
        assert (turn.job_id, turn.hold_usd) == ("fair", USD)

    def test_no_more_is_decided_at_once_than_asked_for(self) -> None:
        jobs = [WaitingJob(name, USD, Decimal("0.01")) for name in many("dear", 9)]
        assert len(next_turns([Line("t")], lambda _: iter(jobs), {"a": 5}, Purse([]), most=4)) == 4

    def test_a_tenant_whose_budget_is_used_up_waits_and_others_go_on(self) -> None:
        house = House({"t": many("t", 5), "u": many("u", 5)})
        house.budgets = [Budget("t", Period.DAY, Decimal("0.60"), WhenUsedUp.WAIT)]
        assert Counter(house.round(9)) == {"t": 2, "u": 5}

    @given(
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 90)), max_size=40),
        st.lists(
            st.tuples(
                st.sampled_from(["", "a", "b"]),
                st.sampled_from(Period),
                st.integers(0, 300),
                st.integers(0, 300),
                st.sampled_from(WhenUsedUp),
            ),
            max_size=5,
            unique_by=lambda each: each[:2],
        ),
        st.dictionaries(st.sampled_from(["k", "l"]), st.integers(0, 12)),
    )
    def test_no_budget_and_no_key_is_overdrawn_and_no_permitted_job_waits_beside_a_free_slot(
        self,
        jobs: list[tuple[str, int]],
        limits: list[tuple[str, Period, int, int, WhenUsedUp]],
        free: dict[str, int],
    ) -> None:
        waiting: dict[str, list[WaitingJob]] = {}
        for n, (tenant, cents) in enumerate(jobs):
            waiting.setdefault(tenant, []).append(WaitingJob(f"{tenant}{n}", Decimal(cents) / 100))
        budgets = [
            Budget(tenant, period, Decimal(limit) / 100, when, Decimal(used) / 100)
            for tenant, period, limit, used, when in limits
        ]
        purse = Purse(budgets)
        before = dict(purse._left)
        lines = [Line(tenant) for tenant in waiting]
        decided = next_turns(lines, lambda tenant: iter(waiting[tenant]), free, purse)
        turns = [each for each in decided if isinstance(each, Turn)]
        for alias, slots in free.items():
            assert sum(turn.key_alias == alias for turn in turns) <= slots
        for which, left in purse._left.items():
            spent = sum((t.hold_usd for t in turns if which[0] in ("", t.tenant)), Decimal(0))
            assert left == before[which] - spent
            assert left >= min(before[which], 0)
        if len(turns) < sum(free.values()):
            settled = {each.job_id for each in decided}
            for tenant, line in waiting.items():
                head = next((job for job in line if job.id not in settled), None)
                # Who waited for one budget may be refused by another once others had their turns: at the next round.
                assert head is None or purse.judge(tenant, head.cost_usd) is not None

    @given(
        st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 8), min_size=2),
        st.lists(st.integers(1, 5), min_size=20, max_size=40),
    )
    def test_nobody_starves(self, weights: dict[str, int], rounds: list[int]) -> None:
        house = House({tenant: many(tenant, 1_000) for tenant in weights}, {t: float(w) for t, w in weights.items()})
        turns = [tenant for slots in rounds for tenant in house.round(slots)]
        for tenant, weight in weights.items():
            share = len(turns) * weight / sum(weights.values())
            assert turns.count(tenant) >= share - len(weights)


class TestPace:
    def free(self, key: ProviderKey, now: datetime = NOW, **counts: int) -> int:
        return free_slots(key, now, **{"open_tasks": 0, "beginning": 0, "open_limit": 20, **counts})

    @pytest.mark.parametrize(
        ("key", "open_tasks", "free"),
        [
            (ProviderKey("a"), 0, 20),
            (ProviderKey("a"), 27, 0),
            (ProviderKey("a", open_limit=5), 3, 2),
            (ProviderKey("a", open_limit=0), 0, 0),
            (ProviderKey("a", closed=True), 0, 0),
            (ProviderKey("a", paused_until=seconds(1)), 0, 0),
            (ProviderKey("a", paused_until=seconds(0)), 0, 20),
            (ProviderKey("a", refusals=1), 0, 1),
            (ProviderKey("a", creates_per_minute=6), 0, 1),
            (ProviderKey("a", creates_per_minute=6, next_create_at=seconds(0.1)), 0, 0),
        ],
    )
    def test_free_slots(self, key: ProviderKey, open_tasks: int, free: int) -> None:
        assert self.free(key, open_tasks=open_tasks) == free

    def test_a_key_that_was_refused_is_tried_with_one_create_at_a_time(self) -> None:
        key = ProviderKey("a", refusals=2)
        assert self.free(key, open_tasks=7, beginning=0) == 1
        assert self.free(key, open_tasks=8, beginning=1) == 0

    @given(st.floats(1, 600), st.lists(st.floats(0, 20), min_size=1, max_size=60))
    def test_no_minute_sees_more_creates_than_the_pace(self, pace: float, pauses_s: list[float]) -> None:
        key, at_s, created = ProviderKey("a", creates_per_minute=pace, open_limit=10_000), 0.0, []
        for pause_s in pauses_s:
            at_s += pause_s
            now = seconds(at_s)
            count = self.free(key, now)
            created += [at_s] * count
            if count:
                key = replace(key, next_create_at=after_creates(key, now, count))
        for begin_s in created:
            assert sum(begin_s <= at < begin_s + 60 for at in created) <= pace + 1

    def test_the_pace_is_kept_up_while_there_is_work(self) -> None:
        key, created = ProviderKey("a", creates_per_minute=120, open_limit=10_000), 0
        for turn in range(600):
            now = seconds(turn / 2)
            count = self.free(key, now)
            created += count
            key = replace(key, next_create_at=after_creates(key, now, count)) if count else key
        assert created == pytest.approx(5 * 120, rel=0.03)

    def test_throttling_halves_the_pace_at_once_and_it_recovers_by_itself(self) -> None:
        key = ProviderKey("a", creates_per_minute=100)
        slowed = slowed_to(key, NOW, NOW, 80)
        assert slowed == 50
        key = replace(key, slowed_at=NOW, slowed_to=slowed)
        assert [key.pace_per_minute(seconds(at)) for at in (0, 3, 15, 3600)] == [50, 50 * 2**0.2, 100, 100]

    def test_a_pace_above_what_the_provider_took_is_brought_below_it(self) -> None:
        assert slowed_to(ProviderKey("a", creates_per_minute=100), NOW, NOW, 40) == 30

    def test_creates_that_were_under_way_when_a_key_was_slowed_slow_it_no_further(self) -> None:
        key = ProviderKey("a", slowed_at=NOW, slowed_to=10.0)
        assert slowed_to(key, seconds(11), seconds(-1), 100) is None
        assert slowed_to(key, seconds(11), seconds(10), 100) is None
        assert slowed_to(key, seconds(15), seconds(11), 100) == 10

    def test_a_key_without_a_pace_is_slowed_by_what_it_did_and_is_itself_again(self) -> None:
        key = ProviderKey("a")
        slowed = slowed_to(key, NOW, NOW, 0)
        assert slowed == 6
        key = replace(key, slowed_at=NOW, slowed_to=slowed)
        assert after_creates(key, seconds(1), 1) is not None
        assert after_creates(key, seconds(3600), 1) is None

    def test_a_slow_key_is_halved_as_well(self) -> None:
        assert slowed_to(ProviderKey("a", creates_per_minute=4), NOW, NOW, 100) == 2

    @pytest.mark.parametrize(
        ("wanted", "limit", "at_random", "least"),
        [
            pytest.param(120, None, 0.05, 96, id="throttled for no reason"),
            pytest.param(600, 100, 0.0, 90, id="wants six times what it gets"),
            pytest.param(90, 100, 0.0, 81, id="wants nearly what it gets"),
        ],
    )
    def test_a_key_that_is_throttled_again_and_again_is_not_slowed_to_a_halt(
        self, wanted: int, limit: int | None, at_random: float, least: int
    ) -> None:
        """Twenty minutes with a provider that takes so many creates in any minute, or throttles some of them anyhow."""
        die, minutes, waiting = random.Random(1), 20, 0.0
        key, taken = ProviderKey("a", open_limit=10_000), list[float]()
        for turn in range(minutes * 60 * 4):
            at_s, waiting = turn / 4, waiting + wanted / 240
            for _ in range(min(int(waiting), self.free(key, seconds(at_s)))):
                key = replace(key, next_create_at=after_creates(key, seconds(at_s), 1))
                lately = sum(at > at_s - 60 for at in taken[-1000:])
                if die.random() >= at_random and (limit is None or lately < limit):
                    taken.append(at_s)
                    waiting -= 1
                    continue
                slowed = slowed_to(key, seconds(at_s), seconds(at_s), lately)
                if slowed is not None:
                    key = replace(key, slowed_at=seconds(at_s), slowed_to=slowed)
                break
        assert len(taken) / minutes >= least

    def test_a_probe_comes_later_each_time_up_to_a_limit(self) -> None:
        assert [probe_after_s(30, n, 600) for n in (1, 2, 3, 6, 50)] == [30, 60, 120, 600, 600]
        assert probe_after_s(900, 1, 600) == 900
