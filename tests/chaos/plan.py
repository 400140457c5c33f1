"""What a chaos run will do, drawn from its seed: its orders (`tests.chaos.orders`), and the harm with its times.

Pure: the same scale and seed are the same plan. When things happen in the end is the machine's business.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tasks.failpoints import FAILPOINTS
from tests.chaos.orders import BY_HTTP, CALM_S, FILM_USD, THRIFTY, Order, hook_answers, make_orders

_AFFORDABLE: Final = 3
"""The budget of the thrifty tenant pays for one of so many of its jobs."""

# No harm of a run leads there: a key that this worker lacks, an accepted request that cannot be read any more, a ledger
# that fails between the claim and the attempt; and nothing is pruned, since all films are compared in the end.
# `python -m tests.failpoints` comes by with processes of its own.
_NOT_HERE: Final = ("create.back.", "create.refused.", "given_back.", "prune.")
PLACES: Final = frozenset(place for place in FAILPOINTS if not place.startswith(_NOT_HERE))
"""The failpoints at which somebody dies in a whole run."""


@dataclass(frozen=True, slots=True)
class Blow:
    """One piece of harm: `kind` is what `tests.chaos.harm` does, `at_s` after the start; `target`, `for_s` by kind."""

    at_s: float
    kind: str
    target: str = ""
    for_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything.

    `window_s`: the time over which jobs come and harm is done. `slots`: tasks that a key may have open; `racing`:
    whether more admit lanes than the stack's own fill them.
    """

    jobs: int
    window_s: float
    fuses: int
    kills: int
    wipes: int
    broker_restarts: int
    freezes: int
    refusals: int
    slots: int = 1000
    racing: bool = False

    @classmethod
    def full(cls, jobs: int, window_s: float) -> Scale:
        """Every one of `PLACES` once, and what else a whole run does."""
        return cls(jobs, window_s, len(PLACES), 12, 3, 3, 3, 2, slots=8, racing=True)

    @classmethod
    def small(cls) -> Scale:
        return cls(jobs=60, window_s=22, fuses=5, kills=4, wipes=1, broker_restarts=1, freezes=0, refusals=0, slots=6)


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    scale: Scale
    orders: tuple[Order, ...]
    blows: tuple[Blow, ...]
    hook_answers: tuple[int, ...] = ()
    """What the receiver of webhooks answers at first."""

    @property
    def by_http(self) -> bool:
        """Whether some of the jobs come through the gateway."""
        return any(order.door in BY_HTTP for order in self.orders)

    @property
    def allowed_usd(self) -> Decimal | None:
        """The budget of the thrifty tenant; `None` where it has no jobs."""
        jobs = sum(order.tenant == THRIFTY for order in self.orders)
        return FILM_USD * max(1, jobs // _AFFORDABLE) if jobs else None


def make_plan(seed: int, scale: Scale) -> Plan:
    """The plan of a seed."""
    orders = make_orders(seed, scale.jobs, scale.window_s)
    return Plan(seed, scale, orders, _blows(seed, scale), hook_answers(seed, orders))


def _blows(seed: int, scale: Scale) -> tuple[Blow, ...]:
    die = random.Random(f"{seed}:blows")
    places = sorted(PLACES)
    die.shuffle(places)
    # The two places of the spool are passed only while the database takes no answers.
    spool = [place for place in places if place.startswith("spool.")]
    rest = [place for place in places if place not in spool]
    if scale.fuses < len(places):
        spool, rest = [], [place for place in rest if place not in _AFTER and not place.startswith(_SELDOM)]
        rest = rest[: scale.fuses]
    first = [Blow(0.0, "fuse", place) for place in rest if place.startswith(_FIRST)]
    rest = [place for place in rest if not place.startswith(_FIRST)]
    acts: list[tuple[str, str, float]] = [("fuse", place, 0.0) for place in rest if place not in _AFTER]
    targets = [*_GATEWAY, *(die.choice(_TARGETS) for _ in range(scale.kills))]
    acts += [("kill", target, 0.0) for target in targets[: scale.kills]]
    acts += [("wipe", "", 0.0)] * scale.wipes
    acts += [("broker", ("SIGKILL", "SIGTERM")[n % 2], 0.0) for n in range(scale.broker_restarts)]
    acts += [("freeze", die.choice((*_WORKERS, "gateway")), die.uniform(3, 9)) for _ in range(scale.freezes)]
    acts += [("refuse", spool[n] if n < len(spool) else "", 3.0) for n in range(scale.refusals)]
    die.shuffle(acts)
    # What is seldom come by, and what has to burn before another place is passed at all, is laid early enough.
    early = [act for act in acts if act[1].startswith(_EARLY)]
    acts = [act for act in acts if not act[1].startswith(_EARLY)]
    for act in early:
        acts.insert(die.randrange(len(acts) // 2), act)
    for place, before in _AFTER.items():
        if place in rest:
            at = next(n for n, (kind, target, _) in enumerate(acts) if before in (kind, target))
            acts.insert(at, ("fuse", place, 0.0))
    # Spread evenly with some play, so that a run is neither calm nor so crowded that nothing goes on in between; and
    # over before the last jobs come, because a fuse needs somebody to come by.
    step_s = (scale.window_s * _HARMED - CALM_S) / max(1, len(acts))
    dealt = (
        Blow(CALM_S + step_s * (n + die.random()), kind, target, for_s) for n, (kind, target, for_s) in enumerate(acts)
    )
    return (*first, *dealt)


_HARMED: Final = 0.85
_WORKERS: Final = ("lanes", "lanes-b", "create", "create-b", "finish", "finish-b")
_TARGETS: Final = (*_WORKERS, "finish child", "finish-b child")
_GATEWAY: Final = ("gateway", "gateway child")
"""Killed once each in any run; who is killed beside them is chance."""
# Places that are passed by few jobs only: a short run does not lay them, a long one lays them early.
_SELDOM: Final = (
    *("operate.", "command.", "sweep.", "input.", "create.claim.", "settle.", "set_aside.", "seed."),
    *("download.given_back.", "download.renewed.", "download.refreshed.", "notify."),
)
# Places that are passed only until a tenant has a secret: laid before anybody comes who wants to be told.
_FIRST: Final = ("notify.secret.",)
# Places that are passed only after other harm: place -> the place to die at, or the kind of blow. A message to record
# alone is sent for a job that was left between its stored files and its charge; a job is parked whose create was under
# way; a timetable is refilled after a wipe.
_AFTER: Final = {
    "record.before_publish": "record.before_commit",
    "record.after_publish": "download.stored.after_commit",
    "sweep.park.before_commit": "create.before_post",
    "sweep.park.after_commit": "create.after_post",
    "sweep.refill.before_commit": "wipe",
    "sweep.refill.after_commit": "wipe",
}
_EARLY: Final = (*_SELDOM, *_AFTER.values())
