"""Who may take the next slot: whose turn it is, within what budgets leave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.admission import Line, Refusal, Turn, WaitingJob, next_turns
from tasks.domain.budgets import Budget, Period, Purse, WhenUsedUp

USD = Decimal("0.28")


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
