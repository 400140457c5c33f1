"""The state table: what absorbs, what is reached, and that nothing leads back to a create unasked."""

from __future__ import annotations

import pytest

from schemas.jobs import TERMINAL, State
from tasks.domain.transitions import ASKED_FOR, HOLDS_SLOT, LEASED, OPEN, TABLE, Event, next_state


def reachable_from(start: State) -> set[State]:
    """Where a job gets from here by itself: without what a person, or a policy that a person chose, asks for."""
    found, edge = {start}, [start]
    while edge:
        state = edge.pop()
        for (source, event), target in TABLE.items():
            if source is state and event not in ASKED_FOR and target not in found:
                found.add(target)
                edge.append(target)
    return found


def test_terminal_states_absorb_every_event_that_nobody_asked_for() -> None:
    assert [(s, e) for s in TERMINAL for e in set(Event) - ASKED_FOR if next_state(s, e)] == []


@pytest.mark.parametrize("state", [State.COMPLETED, State.CANCELLED])
def test_nothing_at_all_leads_out_of_success_or_cancellation(state: State) -> None:
    assert [e for e in Event if next_state(state, e)] == []


def test_every_state_is_reached_from_queued() -> None:
    assert reachable_from(State.QUEUED) == set(State)


@pytest.mark.parametrize("state", sorted(OPEN - {State.UNCERTAIN}))
def test_every_open_state_can_still_complete(state: State) -> None:
    assert State.COMPLETED in reachable_from(state)


def test_nothing_leads_back_to_a_create_once_the_provider_may_have_a_task() -> None:
    # The one way back without being asked is an outcome that is provably unsent, however late it is known.
    back = {(s, e) for (s, e), target in TABLE.items() if target in {State.QUEUED, State.ADMITTED}}
    assert {(s, e) for s, e in back if e not in ASKED_FOR} == {
        (State.QUEUED, Event.ADMIT),
        (State.ADMITTED, Event.UNSENT),
        (State.CREATING, Event.UNSENT),
        (State.UNCERTAIN, Event.UNSENT),
    }
    assert {(s, e) for s, e in back if e in ASKED_FOR} == {
        (State.UNCERTAIN, Event.ANEW),
        (State.FAILED, Event.ANEW),
        (State.FAILED, Event.REQUEUE),
    }


def test_slots_are_held_from_admission_until_the_provider_is_done() -> None:
    assert {State.ADMITTED, State.CREATING, State.UNCERTAIN, State.GENERATING} == HOLDS_SLOT


def test_whatever_has_to_follow_a_change_is_made_sure_of() -> None:
    # A queued job is looked for by the admit lane at every turn.
    assert {State.QUEUED} == set(State) - LEASED


def test_an_event_that_means_nothing_leads_nowhere() -> None:
    assert next_state(State.QUEUED, Event.COMPLETED) is None
