"""What a chaos run will do, drawn from its seed: the jobs with their scripted faults, and the harm with its times.

Pure: the same scale and seed are the same plan. When things happen in the end is the machine's business.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from tasks.failpoints import FAILPOINTS

MODEL: Final = "minimax_hailuo_02_i2v"
BIG, SMALL, THRIFTY = "big", "small", "thrifty"
"""Tenants: one with nearly all jobs, one with few, and one with a budget that is soon used up."""
_TENANTS: Final = {BIG: 0.85, SMALL: 0.05, THRIFTY: 0.10}
_FILM_USD: Final = Decimal("0.10")
_AFFORDABLE: Final = 3
"""The budget pays for one of so many jobs."""

# No harm of a run leads there: a key that this worker lacks, an accepted request that cannot be read any more, a ledger
# that fails between the claim and the attempt. `python -m tests.failpoints` comes by with processes of its own.
_NOT_HERE: Final = ("create.back.", "create.refused.", "given_back.")
PLACES: Final = frozenset(place for place in FAILPOINTS if not place.startswith(_NOT_HERE))
"""The failpoints at which somebody dies in a whole run."""

# Kind of job -> (what the simulator's scenario says of it, share of all jobs in thousandths). A kind stands in the
# prompt's prose, by which its rule finds it.
_CREATE_FAULTS: Final = (
    *("accept_then_reset", "accept_never_answer", "http_500_after_accept", "http_502_after_accept", "no_id"),
    *("http_500_before_accept", "reset_before_accept", "not_json", "redirect", "truncated_body", "slow_drip"),
)
_POLL_FAULTS: Final = (
    *("reset", "never_answer", "http_500", "http_404", "http_429"),
    *("not_json", "truncated_body", "slow_drip", "redirect"),
)
_OUTPUT_FAULTS: Final = (
    *("url_expired", "truncated_output", "slow_output", "not_a_video"),
    *("reset", "never_answer", "http_500", "http_404", "http_429"),
)
_COST_FORMS: Final = ("number", "empty", "null", "missing", "garbage")

AMBIGUOUS: Final = frozenset(f"create-{fault}" for fault in _CREATE_FAULTS)
"""Kinds whose create the simulator answers so that its outcome may not be known."""


def _kinds() -> dict[str, tuple[dict[str, Any], float]]:
    kinds: dict[str, tuple[dict[str, Any], float]] = {}
    for fault in _CREATE_FAULTS:
        kinds[f"create-{fault}"] = ({"create": {"fault": fault}}, 50 / len(_CREATE_FAULTS))
    for fault in _POLL_FAULTS:
        kinds[f"poll-{fault}"] = ({"poll": {"fault": fault, "fault_times": 2}}, 30 / len(_POLL_FAULTS))
    for fault in _OUTPUT_FAULTS:
        kinds[f"output-{fault}"] = ({"output": {"fault": fault}}, 40 / len(_OUTPUT_FAULTS))
    for form in _COST_FORMS:
        kinds[f"cost-{form}"] = ({"poll": {"cost_form": form}}, 30 / len(_COST_FORMS))
    # Twice is as often as a file of the wrong kind is asked for: the job fails, and an operator has it fetched again.
    kinds["unstorable"] = ({"output": {"fault": "not_a_video", "fault_times": 2}}, 5)
    # So slow that whoever downloads it has to renew its lease.
    kinds["stuck"] = ({"output": {"fault": "never_answer"}}, 15)
    kinds["failed"] = ({"poll": {"outcome": "failed"}}, 20)
    kinds["failed-paid"] = ({"poll": {"outcome": "failed", "cost_usd": "0.05", "usage": "present"}}, 10)
    kinds["refused"] = ({"create": {"fault": "refused_without_id"}}, 5)
    return kinds


KINDS: Final = _kinds()
_THROTTLED_SHARE: Final = 20
_CANCELLED_SHARE: Final = 0.06
_REPEATED_SHARE: Final = 0.05
# So many that few come twice: only a picture that is new to the store is written there.
_PICTURES: Final = 230
_PICTURE_SHARE: Final = 0.05


def scenario() -> list[dict[str, Any]]:
    """The simulator's rules: one a kind."""
    rules = [{"match": {"prompt_contains": f" {kind} "}, **rule} for kind, (rule, _) in KINDS.items()]
    return [*rules, {"match": {"prompt_contains": " throttled ", "chance": 0.6}, "create": {"status": 429}}]


@dataclass(frozen=True, slots=True)
class Order:
    """One job to submit: `at_s` after the start, `cancel_after_s` after it was seen accepted."""

    number: int
    kind: str
    picture: int
    at_s: float
    cancel_after_s: float | None
    twice: bool
    tenant: str = BIG

    @property
    def cancelled_by(self) -> str:
        """Who cancels the job: its `producer`, by a command, or an `operator`; empty for nobody."""
        if self.cancel_after_s is None:
            return ""
        return ("producer", "operator")[self.number % 2]

    @property
    def mark(self) -> str:
        """What names the job in its prompt, and so to the simulator."""
        return f"shot-{self.number:06d}"

    @property
    def prompt(self) -> str:
        return f"[static] {self.kind} {self.mark}"


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
        return cls(jobs=60, window_s=22, fuses=5, kills=3, wipes=1, broker_restarts=1, freezes=0, refusals=0, slots=6)


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    scale: Scale
    orders: tuple[Order, ...]
    blows: tuple[Blow, ...]

    @property
    def allowed_usd(self) -> Decimal | None:
        """The budget of the thrifty tenant; `None` where it has no jobs."""
        jobs = sum(order.tenant == THRIFTY for order in self.orders)
        return _FILM_USD * max(1, jobs // _AFFORDABLE) if jobs else None


def make_plan(seed: int, scale: Scale) -> Plan:
    """The plan of a seed."""
    return Plan(seed, scale, _orders(random.Random(f"{seed}:orders"), scale), _blows(seed, scale))


def _orders(die: random.Random, scale: Scale) -> tuple[Order, ...]:
    names = [*KINDS, "throttled", "plain"]
    shares = [*(share for _, share in KINDS.values()), _THROTTLED_SHARE]
    kinds = die.choices(names, [*shares, 1000 - sum(shares)], k=scale.jobs)
    times = sorted(die.uniform(0, scale.window_s) for _ in range(scale.jobs))
    tenants = die.choices(list(_TENANTS), list(_TENANTS.values()), k=scale.jobs)
    return tuple(
        Order(
            number=number,
            kind=kind,
            picture=die.randrange(1, _PICTURES) if die.random() < _PICTURE_SHARE else 0,
            at_s=at_s,
            cancel_after_s=die.expovariate(1.0) if die.random() < _CANCELLED_SHARE else None,
            twice=die.random() < _REPEATED_SHARE,
            tenant=tenants[number],
        )
        for number, (kind, at_s) in enumerate(zip(kinds, times, strict=True))
    )


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
    acts: list[tuple[str, str, float]] = [("fuse", place, 0.0) for place in rest if place not in _AFTER]
    acts += [("kill", die.choice(_TARGETS), 0.0) for _ in range(scale.kills)]
    acts += [("wipe", "", 0.0)] * scale.wipes
    acts += [("broker", ("SIGKILL", "SIGTERM")[n % 2], 0.0) for n in range(scale.broker_restarts)]
    acts += [("freeze", die.choice(_WORKERS), die.uniform(3, 9)) for _ in range(scale.freezes)]
    acts += [("refuse", spool[n] if n < len(spool) else "", 3.0) for n in range(scale.refusals)]
    die.shuffle(acts)
    # What is seldom come by, and what has to burn before another place is passed at all, is laid early enough.
    early = [act for act in acts if act[1].startswith(_EARLY)]
    acts = [act for act in acts if not act[1].startswith(_EARLY)]
    for act in early:
        acts.insert(die.randrange(len(acts) // 2), act)
    for place, before in _AFTER.items():
        if place in rest:
            first = next(n for n, (kind, target, _) in enumerate(acts) if before in (kind, target))
            acts.insert(first, ("fuse", place, 0.0))
    # Spread evenly with some play, so that a run is neither calm nor so crowded that nothing goes on in between; and
    # over before the last jobs come, because a fuse needs somebody to come by.
    step_s = (scale.window_s * _HARMED - _CALM_S) / max(1, len(acts))
    return tuple(
        Blow(_CALM_S + step_s * (n + die.random()), kind, target, for_s) for n, (kind, target, for_s) in enumerate(acts)
    )


_CALM_S: Final = 3.0
_HARMED: Final = 0.85
_WORKERS: Final = ("lanes", "lanes-b", "create", "create-b", "finish", "finish-b")
_TARGETS: Final = (*_WORKERS, "finish child", "finish-b child")
# Places that are passed by few jobs only: a short run does not lay them, a long one lays them early.
_SELDOM: Final = (
    *("operate.", "command.", "sweep.", "input.", "create.claim.", "settle.", "set_aside.", "seed."),
    *("download.given_back.", "download.renewed.", "download.refreshed."),
)
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
