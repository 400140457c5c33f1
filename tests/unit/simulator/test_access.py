"""Keys and limits, with a clock of the test's own."""

from __future__ import annotations

import pytest

from ops.simulator.access import Access, Throttled
from ops.simulator.bill import key_alias
from ops.simulator.validation import Refused


def access(**options: object) -> Access:
    return Access(**{"open_limit": 2, "rate_per_minute": 3, "speed": 60.0, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer sk-", "Basic sk-abc", "Bearer abc", "sk-abc"]
)
def test_a_missing_or_foreign_key_is_401(header: str | None) -> None:
    with pytest.raises(Refused) as refused:
        access().alias(header)
    assert refused.value.status == 401


def test_without_a_list_any_sk_key_is_taken_and_known_by_its_alias() -> None:
    assert access().alias("Bearer sk-abc") == key_alias("sk-abc")
    assert access().alias("bearer sk-abc") == key_alias("sk-abc")


def test_with_a_list_only_its_keys_are_taken() -> None:
    listed = access(keys=["one"], broke=["two"])
    assert listed.alias("Bearer one") == key_alias("one")
    assert listed.alias("Bearer two") == key_alias("two")
    with pytest.raises(Refused):
        listed.alias("Bearer sk-abc")


def test_a_key_without_balance_is_403_on_create_only() -> None:
    broke = access(broke=["two"])
    alias = broke.alias("Bearer two")
    with pytest.raises(Refused) as refused:
        broke.admit(alias, 0.0)
    assert refused.value.status == 403


def test_the_rate_is_counted_in_simulated_minutes_for_each_key() -> None:
    limits = access()
    for at_s in (10.0, 10.1, 10.2):
        limits.admit("a", at_s)
    with pytest.raises(Throttled) as throttled:
        limits.admit("a", 10.3)
    assert throttled.value.retry_after_s == 1
    limits.admit("b", 10.3)
    limits.admit("a", 11.05)


def test_open_tasks_are_limited_for_each_key_and_their_most_is_kept() -> None:
    limits = access()
    for _ in range(2):
        limits.opened("a")
    with pytest.raises(Throttled) as throttled:
        limits.admit("a", 0.0)
    assert throttled.value.retry_after_s is None
    limits.closed("a")
    limits.admit("a", 0.0)
    assert limits.max_open["a"] == 2
