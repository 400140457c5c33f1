"""A lane: a Celery task that works a batch and comes back with a countdown. Owns how lanes live, not what they do.

A lane's message may be lost or doubled. Lost: its heartbeat expires and any worker seeds it anew. Doubled: only the
newest epoch renews the heartbeat, every other turn falls silent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from celery import Task, shared_task
from celery.worker.request import Request
from kombu.exceptions import OperationalError

from tasks import context
from tasks.context import Context
from tasks.failpoints import failpoint
from tasks.keeping import kept
from tasks.ledger import LedgerError
from tasks.media.errors import StoreAway
from tasks.pulse import PulseError

log = structlog.get_logger("reelworks.lanes")

LANES: Final[dict[str, str]] = {name: f"reelworks.{name}" for name in ("accept", "admit", "poll", "sweep", "notify")}
"""Lane -> name of its task. A lane is added here and by `@lane`."""

_AWAY_S: Final = 1.0
_LONGEST_TURN_TTLS: Final = 10
"""For how many times to live a turn is kept alive. The longest that ends by itself waits for a database's statement
(60 s) or for a batch of polls; one that takes more stands still, as on a disk that is gone, and another host may do
better. Should it end after all, it finds itself replaced and falls silent."""

Turn = Callable[[Context], float]
"""One turn: works a batch and says in how many seconds it wants to come back."""

TURNS: Final[dict[str, Turn]] = {}
"""Lane -> its turn, filled by `@lane` as the modules are imported."""

WAIT_HEADER: Final = "reelworks_wait_s"
PASSED_HEADER: Final = "reelworks_passed"
"""How often a lane's message was passed on since its last turn."""
_PASSED_MOST: Final = 3
"""Who passes a message on may well have it back, before the others have asked Redis for their next."""

_LEFT_UNTIL: Final[dict[str, float]] = {}
"""Lane -> until when (monotonic) this process leaves its turns to others."""


class LaneRequest(Request):
    """A lane's message as a worker receives it: the countdown begins now, by this worker's own clock.

    Celery sends an instant of the sender's clock. A host whose clock is ten minutes ahead would have every other one
    hold the lane for ten minutes, and itself take the others' turns without a pause.
    """

    _eta: datetime | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        wait_s = self.request_dict.get(WAIT_HEADER)
        if self._eta is not None and isinstance(wait_s, int | float):
            self._eta = datetime.now(UTC) + timedelta(seconds=wait_s)


class _LaneTask(Task[..., Any]):
    Request = f"{__name__}:{LaneRequest.__name__}"


def lane(name: str) -> Callable[[Turn], Task[..., Any]]:
    """Make a lane's task of the function that works one of its turns."""

    def decorate(turn: Turn) -> Task[..., Any]:
        TURNS[name] = turn

        # No events: lanes come round several times a second and would push the jobs out of Flower.
        @shared_task(bind=True, name=LANES[name], ignore_result=True, send_events=False, base=_LaneTask)
        def task(self: Task[..., Any], epoch: int) -> None:
            _take_turn(self, name, turn, epoch)

        made: Task[..., Any] = task
        made.__doc__ = turn.__doc__
        return made

    return decorate


def leave_to_others(lane_name: str, for_s: float) -> None:
    """Pass a lane's message on, some times each time it comes, for so many seconds: another worker may do better.

    Two workers take turns by themselves, and what falls due can be met by the same one again and again. Where there is
    no other, it comes back and is taken.
    """
    _LEFT_UNTIL[lane_name] = time.monotonic() + for_s


def seed(lane_name: str, send: Callable[..., Any]) -> bool:
    """Start a lane that has fallen silent; `send(task_name, ...)` publishes. True when it was seeded."""
    ctx = context.current()
    epoch = ctx.pulse.lanes.seed(lane_name, ctx.policy.lane_ttl_s)
    if epoch is None:
        return False
    failpoint("seed.before_publish")
    send(LANES[lane_name], kwargs={"epoch": epoch}, retry=False)
    failpoint("seed.after_publish")
    log.info("lane_seeded", lane=lane_name, epoch=epoch)
    return True


def _take_turn(task: Task[..., Any], name: str, turn: Turn, epoch: int) -> None:
    ctx = context.current()
    ttl_s = ctx.policy.lane_ttl_s

    def renew() -> bool:
        return ctx.pulse.lanes.renew(name, epoch, ttl_s)

    begun = time.monotonic()

    def keep() -> bool:
        if time.monotonic() - begun > _LONGEST_TURN_TTLS * ttl_s:
            log.error("lane_turn_hangs", lane=name, epoch=epoch)
            return False
        return renew()

    try:
        if not renew():
            return
        if begun < _LEFT_UNTIL.get(name, 0.0) and (passed := task.request.get(PASSED_HEADER) or 0) < _PASSED_MOST:
            _come_back(task, epoch, 0.0, passed + 1)
            return
        wait_s = _work(ctx, name, turn, epoch, keep)
        if renew():
            _come_back(task, epoch, max(0.0, wait_s))
    except (PulseError, OperationalError) as error:
        # The message is gone, and with it this lane; its heartbeat expires and a worker seeds the next.
        log.warning("lane_fell_silent", lane=name, epoch=epoch, error=type(error).__name__)


def _work(ctx: Context, name: str, turn: Turn, epoch: int, keep: Callable[[], bool]) -> float:
    """Seconds until the next turn, whatever this one meets: a lane outlives it."""
    try:
        with kept(keep, ctx.policy.lane_ttl_s):
            return turn(ctx)
    except StoreAway as error:
        log.warning("store_away", lane=name, reason=str(error))
        return _AWAY_S
    except (LedgerError, PulseError) as error:
        # They are away: one line a turn says enough, and the next turn looks at the same rows.
        log.warning("lane_turn_failed", lane=name, epoch=epoch, error=type(error).__name__)
        return _AWAY_S
    except Exception:
        log.exception("lane_turn_failed", lane=name, epoch=epoch)
        return ctx.policy.lane_idle_s


def _come_back(task: Task[..., Any], epoch: int, wait_s: float, passed: int = 0) -> None:
    headers: dict[str, Any] = {WAIT_HEADER: wait_s, PASSED_HEADER: passed}
    failpoint("lane.before_publish")
    task.apply_async(kwargs={"epoch": epoch}, countdown=wait_s, headers=headers, retry=False)
    failpoint("lane.after_publish")
