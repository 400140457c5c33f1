"""How soon a tenant's next turn comes."""

from __future__ import annotations

from tasks.domain.turngap import turn_gap_s


def test_time_without_waiting_jobs_does_not_count() -> None:
    assert turn_gap_s(None, None, turns=1, waited_s=4.0) == 4.0
    assert turn_gap_s(2.0, 3_600.0, turns=1, waited_s=2.0) == 2.0


def test_it_follows_what_is_seen_within_some_ten_turns() -> None:
    gap_s = 10.0
    for _ in range(10):
        gap_s = turn_gap_s(gap_s, 2.0, turns=1, waited_s=60.0)
    assert 2.0 < gap_s < 3.0


def test_several_turns_at_once_share_the_time() -> None:
    assert turn_gap_s(None, 10.0, turns=5, waited_s=60.0) == 2.0
