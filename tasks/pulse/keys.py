"""The workers' own Redis keys. Those shared with producers are in `schemas.keys`."""

from __future__ import annotations

from typing import Final

from schemas.keys import PREFIX

INTAKE_GROUP: Final = "accept"
"""Consumer group of the request stream."""

LOOKED_THROUGH: Final = f"{PREFIX}looked_through"
"""Hash: a queue that others use too -> how many of its oldest messages were looked through, for ours among them."""

TIMETABLE_WHOLE: Final = f"{PREFIX}timetable:whole"
"""String, there only while the timetable is known to hold every generating job: gone after a wipe."""

TIMETABLE_REFILL: Final = f"{PREFIX}timetable:refill"
"""String: token of the refill that is under way."""

VIEWS_REFILL: Final = f"{PREFIX}views:refill"
"""String, there only while views that a wipe took are still to be published: the refill's token, and how far it is."""

DEMAND: Final = f"{PREFIX}demand"
"""String that expires: there while jobs wait and no slot is free."""

TALLY: Final = f"{PREFIX}tally"
"""Hash: what was counted -> the sum, for all processes together."""

SPOOLS: Final = f"{PREFIX}spools"
"""Hash: a spool's name -> how many answers wait in it, while there are any."""

CALLS: Final = f"{PREFIX}calls"
"""String that expires: there while the provider calls back."""


def called(attempt_id: str) -> str:
    """String that expires within seconds: how often the provider has called about an attempt."""
    return f"{PREFIX}called:{attempt_id}"


LANE_SEEDED: Final = "seeded"
"""In the heartbeat of a lane that was seeded and has not taken a turn yet."""


def lane_beat(lane: str) -> str:
    """String with a short time to live: the epoch of the lane that is alive, or `LANE_SEEDED`."""
    return f"{PREFIX}lane:{lane}:beat"


def lane_epoch(lane: str) -> str:
    """String: the epoch of the lane that counts; it grows with the time, also over a wipe."""
    return f"{PREFIX}lane:{lane}:epoch"


def key_pressure(alias: str) -> str:
    """Hash that expires: until when a key's tasks are looked at less often (`until`) or not at all (`rest_until`)."""
    return f"{PREFIX}key:{alias}:pressure"


def times(model: str) -> str:
    """Hash: what has been learned of how long a model's tasks take, a sketch a field (JSON). `1`: the bins' form."""
    return f"{PREFIX}times:1:{model}"
