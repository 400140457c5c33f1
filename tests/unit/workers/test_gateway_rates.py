"""How many requests a tenant may make, by a clock of the test's own."""

from __future__ import annotations

from workers.gateway.rates import Rates


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def taken(rates: Rates, number: int, per_minute: float, tenant: str = "film") -> int:
    return sum(rates.wait_s(tenant, per_minute) == 0 for _ in range(number))


def test_as_many_are_taken_at_once_as_fit_into_ten_seconds() -> None:
    assert taken(Rates(1, Clock()), 100, per_minute=60) == 10


def test_from_then_on_they_are_taken_at_an_even_pace() -> None:
    clock = Clock()
    rates = Rates(1, clock)
    taken(rates, 100, per_minute=60)
    for _ in range(5):
        assert 0 < rates.wait_s("film", 60) <= 1
        clock.now += 1
        assert rates.wait_s("film", 60) == 0


def test_what_it_says_to_wait_is_enough() -> None:
    clock = Clock()
    rates = Rates(1, clock)
    taken(rates, 100, per_minute=6)
    clock.now += rates.wait_s("film", 6)
    assert rates.wait_s("film", 6) == 0


def test_each_process_allows_its_share() -> None:
    assert taken(Rates(2, Clock()), 100, per_minute=60) == 5


def test_one_at_least_is_taken_after_a_pause() -> None:
    assert taken(Rates(4, Clock()), 100, per_minute=0.5) == 1


def test_one_tenants_requests_are_not_anothers() -> None:
    rates = Rates(1, Clock())
    taken(rates, 100, per_minute=60)
    assert taken(rates, 1, per_minute=60, tenant="rival") == 1


def test_tenants_whose_pause_is_over_are_forgotten() -> None:
    clock = Clock()
    rates = Rates(1, clock)
    for number in range(10_000):
        rates.wait_s(str(number), 60)
    clock.now += 60
    rates.wait_s("one more", 60)
    assert len(rates._even_at) == 1
