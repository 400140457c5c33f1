"""A lane: a Celery task that works a batch and comes back with a countdown. Owns how lanes live, not what they do.

A lane's message may be lost or doubled. Lost: its heartbeat expires and any worker seeds it anew. Doubled: only the
newest epoch renews the heartbeat, every other turn falls silent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog
from celery import Task, shared_task
from kombu.exceptions import OperationalError

from tasks import context
from tasks.context import Context
from tasks.failpoints import failpoint
from tasks.keeping import kept
from tasks.pulse import PulseError

log = structlog.get_logger("reelworks.lanes")

LANES: Final[dict[str, str]] = {name: f"reelworks.{name}" for name in ("accept", "admit", "poll", "sweep")}
"""Lane -> name of its task. A lane is added here and by `@lane`."""

Turn = Callable[[Context], float]
"""One turn: works a batch and says in how many seconds it wants to come back."""

TURNS: Final[dict[str, Turn]] = {}
"""Lane -> its turn, filled by `@lane` as the modules are imported."""


def lane(name: str) -> Callable[[Turn], Task[..., Any]]:
    """Make a lane's task of the function that works one of its turns."""

    def decorate(turn: Turn) -> Task[..., Any]:
        TURNS[name] = turn

        # No events: lanes come round several times a second and would push the jobs out of Flower.
        @shared_task(bind=True, name=LANES[name], ignore_result=True, send_events=False)
        def task(self: Task[..., Any], epoch: int) -> None:
            _take_turn(self, name, turn, epoch)

        made: Task[..., Any] = task
        made.__doc__ = turn.__doc__
        return made

    return decorate


def seed(lane_name: str, send: Callable[..., Any]) -> bool:
    """Start a lane that has fallen silent; `send(task_name, kwargs=...)` publishes. True when it was seeded."""
    ctx = context.current()
    epoch = ctx.pulse.lanes.seed(lane_name, ctx.policy.lane_ttl_s)
    if epoch is None:
        return False
    send(LANES[lane_name], kwargs={"epoch": epoch})
    log.info("lane_seeded", lane=lane_name, epoch=epoch)
    return True


def _take_turn(task: Task[..., Any], name: str, turn: Turn, epoch: int) -> None:
    ctx = context.current()
    ttl_s = ctx.policy.lane_ttl_s

    def renew() -> bool:
        return ctx.pulse.lanes.renew(name, epoch, ttl_s)

    try:
        if not renew():
            return
        try:
            with kept(renew, ttl_s):
                wait_s = turn(ctx)
        except Exception:
            # A lane outlives whatever one turn meets: the next turn looks at the same rows.
            log.exception("lane_turn_failed", lane=name, epoch=epoch)
            wait_s = ctx.policy.lane_idle_s
        if renew():
            failpoint("lane.before_publish")
            task.apply_async(kwargs={"epoch": epoch}, countdown=max(0.0, wait_s), retry=False)
            failpoint("lane.after_publish")
    except (PulseError, OperationalError) as error:
        # The message is gone, and with it this lane; its heartbeat expires and a worker seeds the next.
        log.warning("lane_fell_silent", lane=name, epoch=epoch, error=type(error).__name__)
