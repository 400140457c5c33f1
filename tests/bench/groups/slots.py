"""How much of the provider's slots is used while work waits, by the provider's own count."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from schemas.jobs import State
from tests.bench.figures import Finding, Measured, Row, at_least
from tests.bench.group import Group, Place
from tests.bench.stack import REQUEST, reelworks
from tests.bench.stand import stand
from tests.support.waiting import wait_until

_ROWS = (Row("slots_used", "%", at_least(98), "100 %: 20 tasks open at every moment"),)
_SLOTS = 20
_ROUNDS = 3

Span = tuple[float, float]
"""From when until when a task was open, in epoch seconds."""


def _measure(place: Place) -> Mapping[str, Finding]:
    job_s = place.scale.pick(20, 8)
    number = _SLOTS * (_ROUNDS + 2)
    # The schedule of the polls is the product's own: that it sees the end of a task soon is part of the figure.
    with stand(place.sub("stand")) as made, reelworks(made, {"REELWORKS_OPEN_TASKS_PER_KEY": str(_SLOTS)}) as running:
        made.provider.begin(job_s)
        running.producer.submit_many([REQUEST] * number)
        within_s = 120.0 + 4 * job_s * number / _SLOTS
        wait_until(lambda: made.provider.counts()["creates"] == number, within_s=within_s, what="the last create")
        tasks = list(made.provider.seen()["tasks"].values())
        now = time.time()
        assert running.count(State.FAILED) == 0
    until_completed = parts([(task[0], task[1]) for task in tasks], _SLOTS, _ROUNDS)
    until_told = parts([(task[0], task[2] or now) for task in tasks], _SLOTS, _ROUNDS)
    note = f"{Measured(until_told).value:.1f} % when a task counts as open until its end was told; jobs of {job_s} s"
    return {"slots_used": Measured(until_completed, note)}


def parts(spans: Sequence[Span], slots: int, number: int) -> list[float]:
    """The share of the slots in use, in per cent, in so many equal parts of the time while work waited.

    Work waited from the create that filled the last slot to the last create of all.
    """
    begins = sorted(begin for begin, _ in spans)
    first, last = begins[slots - 1], begins[-1]
    length_s = (last - first) / number
    return [100 * used(spans, slots, first + n * length_s, first + (n + 1) * length_s) for n in range(number)]


def used(spans: Sequence[Span], slots: int, since: float, until: float) -> float:
    """Of all the slots' time from `since` to `until`, the share in which a task was open."""
    open_s = sum(max(0.0, min(end, until) - max(begin, since)) for begin, end in spans)
    return open_s / (slots * (until - since))


GROUP = Group("slots", _ROWS, _measure)
