"""When generating jobs are looked at, by what is known of how long they take; and learns from those that have ended.

What is known helps, and is never needed: where Redis knows nothing, the fixed schedule holds.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog

from tasks.context import Context
from tasks.domain.job import Job
from tasks.domain.knowledge import Kind, Known, Seen
from tasks.domain.polling import next_look_s
from tasks.domain.sketch import Sketch
from tasks.ledger.timings import latest_ended
from tasks.pulse import PulseError
from tasks.pulse.pressure import Pressure
from tasks.pulse.timetable import Due, Entry

log = structlog.get_logger("reelworks.poll")

_SEEDED_FROM: Final = 500
"""Of so many jobs that ended last it is learned how long they took, when Redis does not know it any more."""


def timetable_entry(ctx: Context, job: Job, now: datetime | None = None) -> Entry:
    """The timetable's entry for a generating job. `now`: by the ledger's clock; `None`: its task is new."""
    if job.provider_task_id is None or job.key_alias is None or job.generating_at is None:
        raise ValueError(f"job {job.id} has no provider task to look at")
    kind = Kind(job.model, job.resolution, job.duration_s, job.generating_at.hour)
    age_s = 0.0 if now is None else max(0.0, (now - job.generating_at).total_seconds())
    delay_s = next_look_s(
        ctx.policy.poll,
        age_s=age_s,
        polls=0,
        retry_after_s=None,
        spread=random.random(),  # noqa: S311 (spreads load, hides nothing)
        known=known_of(ctx, kind),
        slowed=patience(ctx),
    )
    return Entry(job.id, delay_s, job.provider_task_id, job.key_alias, job.generating_at, kind)


def patience(ctx: Context) -> float:
    """How many times as long as else looks may wait: more than once while the provider calls back by itself.

    Raises `PulseError`.
    """
    return ctx.policy.callback_patience if ctx.callbacks is not None and ctx.pulse.calls.are_heard() else 1.0


def known_of(ctx: Context, kind: Kind | None) -> Known | None:
    """What is known of a kind; `None` for the look of a version before.

    Raises `PulseError`: whoever asks needs Redis next, and a Redis that is away must not be waited for once a job.
    """
    if kind is None:
        return None
    return ctx.pulse.timings.known(kind, ctx.policy.poll.bounds(work_waits=ctx.pulse.demand.is_there()))


def likely_left_s(ctx: Context, youngest: Sequence[tuple[Kind, float]]) -> float | None:
    """In how many seconds generating tasks have most likely ended: of each kind, the age of the one that began last.

    0 when all have taken longer than such tasks do. `None` where nothing is known, or Redis is away, which knows it.
    """
    left_s = []
    try:
        for kind, age_s in youngest:
            ended_s = ctx.pulse.timings.known(kind, ctx.policy.poll.bounds()).mostly_ended_s
            if ended_s is not None:
                left_s.append(max(0.0, ended_s - age_s))
    except PulseError:
        return None
    return max(left_s, default=None)


def learn(ctx: Context, ended: Sequence[tuple[Due, float | None]]) -> None:
    """Learn from tasks that a look has found completed, each with the time it took by the provider's clock, if known.

    A look that was late itself, or followed on looks that told nothing, says too little.
    """
    timely = ctx.policy.poll.interval_s
    by_model: dict[str, list[tuple[Kind, Seen]]] = defaultdict(list)
    for due, took_s in ended:
        kind, noted = due.kind, due.noted
        if kind is not None and not noted.misses and due.late_s <= timely:
            one = Seen.between(noted.looked_s, due.age_now_s, took_s, noted.progress_then)
            by_model[kind.model].append((kind, one))
    try:
        for model, seen in by_model.items():
            known = ((ctx.pulse.timings.known(kind, ctx.policy.poll.bounds()), one) for kind, one in seen)
            ctx.pulse.timings.learn(model, [made for what, one in known for made in what.deposits([one])])
    except PulseError as error:
        log.warning("timings_not_learned", error=type(error).__name__)


def seed(ctx: Context) -> None:
    """Learn anew from the jobs that ended last, where nothing is known (any more)."""
    with ctx.ledger.read() as tx:
        rows = latest_ended(tx, _SEEDED_FROM)
    learned: dict[str, dict[str, Sketch]] = defaultdict(dict)
    for row in reversed(rows):
        sketches = learned[row.kind.model]
        for name, shares in Known(sketches, row.kind, ctx.policy.poll.bounds()).deposits([row.seen]):
            sketches[name] = sketches.get(name, Sketch()).with_one(shares)
    for model, made in learned.items():
        ctx.pulse.timings.seed(model, made)
    log.info("timings_seeded", jobs=len(rows))


def pressure_on(ctx: Context, alias: str | None) -> Pressure:
    """How much less is to be asked of a key. Raises `PulseError`, as `known_of` does."""
    return ctx.pulse.pressure.of(alias or "")


def slow_down(ctx: Context, alias: str, rest_s: float = 0.0) -> None:
    """Have all tasks of a key looked at more slowly: the provider has had enough, and creates go first.

    Raises `PulseError`, as `known_of` does.
    """
    ctx.pulse.pressure.slow(alias, rest_s)
    log.warning("polls_slowed", key=alias, rest_s=rest_s)
