"""Who may take the next slot: a pure function of what is open and what waits. Refuses SQL and clocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyState:
    """A provider key as admission sees it. `paused` keys take nothing new; what they have open goes on."""

    alias: str
    open_limit: int
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """One admission: this job may create its provider task with this key, and with no other."""

    job_id: str
    key_alias: str


def free_slots(keys: Iterable[KeyState], open_by_key: Mapping[str, int]) -> dict[str, int]:
    """How many more provider tasks each key may have open now. Never negative; a paused key has none."""
    return {key.alias: 0 if key.paused else max(0, key.open_limit - open_by_key.get(key.alias, 0)) for key in keys}


def turns(waiting: Sequence[str], free: Mapping[str, int]) -> list[Turn]:
    """First come, first served: each job in `waiting` (ids, in order) takes a slot of the key with the most left."""
    left = dict(free)
    taken: list[Turn] = []
    for job_id in waiting:
        alias = max(left, key=lambda name: left[name], default=None)
        if alias is None or left[alias] <= 0:
            break
        left[alias] -= 1
        taken.append(Turn(job_id, alias))
    return taken
