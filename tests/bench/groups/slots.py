"""How much of the provider's slots is used while work waits, by the provider's own count, and how soon one that falls
free is taken again, by the ledger's."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from schemas.jobs import State
from tasks.domain.transitions import Event
from tasks.ledger import tables
from tests.bench.figures import Finding, Measured, Row, at_least, at_most, quantile
from tests.bench.group import Group, Place
from tests.bench.stack import REQUEST, Reelworks, reelworks
from tests.bench.stand import stand
from tests.support.waiting import wait_until

_ROWS = (
    Row("slots_used", "%", at_least(98), "100 %: 20 tasks open at every moment"),
    Row("slot_refill_p95", "ms", at_most(100), "0: from a task's end in the ledger to the attempt of the next"),
)
_SLOTS = 20
_ROUNDS = 3

Span = tuple[float, float]
"""From when until when a task was open, in epoch seconds."""


def _measure(place: Place) -> Mapping[str, Finding]:
    job_s = place.scale.pick(20, 5)
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
        refills_ms = [1000 * each for each in refills_s(*_moments(running), _SLOTS)]
    until_completed = parts([(task[0], task[1]) for task in tasks], _SLOTS, _ROUNDS)
    until_told = parts([(task[0], task[2] or now) for task in tasks], _SLOTS, _ROUNDS)
    note = f"{Measured(until_told).value:.1f} % when a task counts as open until its end was told; jobs of {job_s} s"
    return {
        "slots_used": Measured(until_completed, note),
        "slot_refill_p95": Measured(
            [quantile(refills_ms, 0.95)],
            f"of {len(refills_ms)} slots; half of them within {quantile(refills_ms, 0.5):.0f} ms",
        ),
    }


def _moments(running: Reelworks) -> tuple[list[float], list[float]]:
    """When tasks ended and when attempts began, by the ledger, in epoch seconds."""
    moments = tables.timeline
    with running.ledger.read() as tx:
        rows = tx.execute(sa.select(moments.c.event, moments.c.at)).all()
    ends, begins = (
        [row.at.timestamp() for row in rows if row.event == event] for event in (Event.COMPLETED, Event.BEGIN)
    )
    return ends, begins


def refills_s(ends: Sequence[float], begins: Sequence[float], slots: int) -> list[float]:
    """From each end until the attempt that takes its slot begins. At first all slots are free; work waits all along."""
    return [begin - end for end, begin in zip(sorted(ends), sorted(begins)[slots:], strict=False)]


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
