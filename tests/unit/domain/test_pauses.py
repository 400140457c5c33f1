"""How long pauses hold, and which are a person's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tasks.domain.pace import ProviderKey, free_slots
from tasks.domain.pauses import Pause, Scope

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=2)


def test_a_pause_holds_until_its_end_and_without_one_until_somebody_says_so() -> None:
    assert Pause(Scope.ALL).is_in_force(NOW)
    ends = Pause(Scope.ALL, until=LATER)
    assert ends.is_in_force(LATER - timedelta(microseconds=1))
    assert not ends.is_in_force(LATER)


def test_a_key_closed_for_a_while_is_open_again_by_itself() -> None:
    key = ProviderKey("main", closed=True, closed_at=NOW, closed_by="me", closed_until=LATER)

    def free(at: datetime) -> int:
        return free_slots(key, at, open_tasks=1, beginning=0, open_limit=5)

    assert (free(NOW), free(LATER)) == (0, 4)
    assert key.pause_by_person(NOW) == Pause(Scope.KEY, "main", NOW, "me", None, LATER)
    assert key.pause_by_person(LATER) is None
    assert replace(key, closed=False).pause_by_person(NOW) is None


def test_a_key_that_the_provider_has_paused_is_not_so_by_a_person() -> None:
    key = ProviderKey("main", paused_until=LATER, pause_reason="throttled")
    assert key.is_paused(NOW)
    assert key.pause_by_person(NOW) is None
