"""Webhooks: what follows a try, how long a receiver is left alone, and what fails as one."""

from __future__ import annotations

import pytest

from tasks.domain.delivering import Again, Arrived, Dead, Reply, WebhookPolicy, decide, pause_s, receiver_of

POLICY = WebhookPolicy()
DAY_S = POLICY.give_up_s


def after(reply: Reply, *, tries: int = 1, age_s: float = 0, spread: float = 0.5) -> object:
    return decide(POLICY, reply, tries=tries, age_s=age_s, spread=spread)


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_success_is_success_however_late(status: int) -> None:
    assert after(Reply(status, ""), age_s=2 * DAY_S) == Arrived()


@pytest.mark.parametrize("status", [None, 301, 307, 400, 401, 404, 408, 429, 500, 503])
def test_everything_else_is_tried_again(status: int | None) -> None:
    assert after(Reply(status, "")) == Again(POLICY.first_s)


def test_whoever_is_gone_is_not_asked_again() -> None:
    assert after(Reply(410, "")) == Dead(gone=True)


def test_an_address_that_may_not_be_opened_is_not_tried_again() -> None:
    assert after(Reply(None, "", refused=True)) == Dead()


def test_delays_triple_up_to_an_hour_and_the_tries_fill_a_day() -> None:
    age_s, delays, tries = 0.0, [], 1
    while isinstance(decision := after(Reply(500, ""), tries=tries, age_s=age_s), Again):
        delays.append(decision.after_s)
        age_s, tries = age_s + decision.after_s, tries + 1
    assert delays[:7] == [5, 15, 45, 135, 405, 1215, 3600]
    assert set(delays[7:-1]) == {3600}
    assert age_s == DAY_S  # the last one comes when the time is just over
    assert len(delays) == 30


@pytest.mark.parametrize(("spread", "factor"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_delays_are_spread(spread: float, factor: float) -> None:
    assert after(Reply(500, ""), tries=3, spread=spread) == Again(pytest.approx(45 * factor))


def test_what_the_receiver_asks_for_is_waited_for() -> None:
    assert after(Reply(503, "", retry_after_s=120)) == Again(120)
    assert after(Reply(503, "", retry_after_s=1)) == Again(POLICY.first_s)


def test_no_number_of_tries_is_too_large() -> None:
    assert after(Reply(500, ""), tries=10_000) == Again(POLICY.longest_s)
    assert pause_s(POLICY, 10_000) == POLICY.longest_s


def test_a_receiver_is_left_alone_after_failures_in_a_row_ever_longer() -> None:
    assert [pause_s(POLICY, failures) for failures in (1, 4, 5, 6, 7, 12)] == [0, 0, 30, 60, 120, 3600]


@pytest.mark.parametrize(
    ("reply", "away"),
    [
        (Reply(None, "ReadTimeout"), True),
        (Reply(500, ""), True),
        (Reply(429, ""), True),
        (Reply(404, ""), False),
        (Reply(410, ""), False),
        (Reply(204, ""), False),
        (Reply(None, "the address is not public", refused=True), False),
    ],
)
def test_what_says_something_about_the_receiver_itself(reply: Reply, away: bool) -> None:
    assert reply.is_away is away


def test_a_receiver_is_a_tenants_server_whatever_the_path() -> None:
    assert receiver_of("a", "https://Hooks.example/x?token=1") == receiver_of("a", "https://hooks.example:443/y")
    different = {
        receiver_of("a", "https://hooks.example/"),
        receiver_of("b", "https://hooks.example/"),
        receiver_of("a", "http://hooks.example/"),
        receiver_of("a", "https://hooks.example:8443/"),
    }
    assert len(different) == 4
    assert "token" not in receiver_of("a", "https://hooks.example/x?token=1")
