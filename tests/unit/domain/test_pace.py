"""How many slots a key has free, and at what pace it may create: smooth, slowed at once, and recovering by itself."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.pace import ProviderKey, after_creates, free_slots, probe_after_s, slowed_to

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def seconds(count: float) -> datetime:
    return NOW + timedelta(seconds=count)


def free(key: ProviderKey, now: datetime = NOW, **counts: int) -> int:
    return free_slots(key, now, **{"open_tasks": 0, "beginning": 0, "open_limit": 20, **counts})


@pytest.mark.parametrize(
    ("key", "open_tasks", "slots"),
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
def test_free_slots(key: ProviderKey, open_tasks: int, slots: int) -> None:
    assert free(key, open_tasks=open_tasks) == slots


def test_a_key_that_was_refused_is_tried_with_one_create_at_a_time() -> None:
    key = ProviderKey("a", refusals=2)
    assert free(key, open_tasks=7, beginning=0) == 1
    assert free(key, open_tasks=8, beginning=1) == 0


@given(st.floats(1, 600), st.lists(st.floats(0, 20), min_size=1, max_size=60))
def test_no_minute_sees_more_creates_than_the_pace(pace: float, pauses_s: list[float]) -> None:
    key, at_s, created = ProviderKey("a", creates_per_minute=pace, open_limit=10_000), 0.0, []
    for pause_s in pauses_s:
        at_s += pause_s
        now = seconds(at_s)
        count = free(key, now)
        created += [at_s] * count
        if count:
            key = replace(key, next_create_at=after_creates(key, now, count))
    for begin_s in created:
        assert sum(begin_s <= at < begin_s + 60 for at in created) <= pace + 1


def test_the_pace_is_kept_up_while_there_is_work() -> None:
    key, created = ProviderKey("a", creates_per_minute=120, open_limit=10_000), 0
    for turn in range(600):
        now = seconds(turn / 2)
        count = free(key, now)
        created += count
        key = replace(key, next_create_at=after_creates(key, now, count)) if count else key
    assert created == pytest.approx(5 * 120, rel=0.03)


def test_throttling_halves_the_pace_at_once_and_it_recovers_by_itself() -> None:
    key = ProviderKey("a", creates_per_minute=100)
    slowed = slowed_to(key, NOW, NOW, 80)
    assert slowed == 50
    key = replace(key, slowed_at=NOW, slowed_to=slowed)
    assert [key.pace_per_minute(seconds(at)) for at in (0, 3, 15, 3600)] == [50, 50 * 2**0.2, 100, 100]


def test_a_pace_above_what_the_provider_took_is_brought_below_it() -> None:
    assert slowed_to(ProviderKey("a", creates_per_minute=100), NOW, NOW, 40) == 30


def test_creates_that_were_under_way_when_a_key_was_slowed_slow_it_no_further() -> None:
    key = ProviderKey("a", slowed_at=NOW, slowed_to=10.0)
    assert slowed_to(key, seconds(11), seconds(-1), 100) is None
    assert slowed_to(key, seconds(11), seconds(10), 100) is None
    assert slowed_to(key, seconds(15), seconds(11), 100) == 10


def test_a_key_without_a_pace_is_slowed_by_what_it_did_and_is_itself_again() -> None:
    key = ProviderKey("a")
    slowed = slowed_to(key, NOW, NOW, 0)
    assert slowed == 6
    key = replace(key, slowed_at=NOW, slowed_to=slowed)
    assert after_creates(key, seconds(1), 1) is not None
    assert after_creates(key, seconds(3600), 1) is None


def test_a_slow_key_is_halved_as_well() -> None:
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
    wanted: int, limit: int | None, at_random: float, least: int
) -> None:
    """Twenty minutes with a provider that takes so many creates in any minute, or throttles some of them anyhow."""
    die, minutes, waiting = random.Random(1), 20, 0.0
    key, taken = ProviderKey("a", open_limit=10_000), list[float]()
    for turn in range(minutes * 60 * 4):
        at_s, waiting = turn / 4, waiting + wanted / 240
        for _ in range(min(int(waiting), free(key, seconds(at_s)))):
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


def test_a_probe_comes_later_each_time_up_to_a_limit() -> None:
    assert [probe_after_s(30, n, 600) for n in (1, 2, 3, 6, 50)] == [30, 60, 120, 600, 600]
    assert probe_after_s(900, 1, 600) == 900
