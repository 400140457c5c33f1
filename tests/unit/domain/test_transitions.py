from __future__ import annotations

import pytest

from schemas.jobs import TERMINAL, State
from tasks.domain.transitions import HOLDS_SLOT, LEASED, OPEN, TABLE, Event, next_state


def reachable_from(start: State) -> set[State]:
    found, edge = {start}, [start]
    while edge:
        state = edge.pop()
        for (source, _), target in TABLE.items():
            if source is state and target not in found:
                found.add(target)
                edge.append(target)
    return found


def test_terminal_states_absorb_every_event() -> None:
    assert [(s, e) for s in TERMINAL for e in Event if next_state(s, e)] == []


def test_every_state_is_reached_from_queued() -> None:
    assert reachable_from(State.QUEUED) == set(State)


@pytest.mark.parametrize("state", sorted(OPEN - {State.UNCERTAIN}))
def test_every_open_state_can_still_complete(state: State) -> None:
    assert State.COMPLETED in reachable_from(state)


def test_nothing_leads_back_to_a_create_once_the_provider_may_have_a_task() -> None:
    # The one way back from CREATING is an outcome that is provably unsent.
    back = {(s, e) for (s, e), target in TABLE.items() if target in {State.QUEUED, State.ADMITTED}}
    assert back == {
        (State.QUEUED, Event.ADMIT),
        (State.ADMITTED, Event.UNSENT),
        (State.CREATING, Event.UNSENT),
    }


@pytest.mark.parametrize("state", [State.UNCERTAIN, State.GENERATING, State.DOWNLOADING, State.RECORDING])
def test_what_may_have_cost_money_is_never_created_again(state: State) -> None:
    assert not reachable_from(state) & {State.QUEUED, State.ADMITTED, State.CREATING}


def test_slots_are_held_from_admission_until_the_provider_is_done() -> None:
    assert {State.ADMITTED, State.CREATING, State.UNCERTAIN, State.GENERATING} == HOLDS_SLOT


def test_whatever_has_to_follow_a_change_is_made_sure_of() -> None:
    # A queued job is looked for by the admit lane at every turn.
    assert {State.QUEUED} == set(State) - LEASED


def test_an_event_that_means_nothing_leads_nowhere() -> None:
    assert next_state(State.QUEUED, Event.COMPLETED) is None
