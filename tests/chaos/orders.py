"""The jobs of a chaos run with their doors and scripted faults, drawn from its seed; and the rules of the simulator.

Pure: the same seed gives the same orders.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

CALM_S: Final = 3.0
"""For so long at the beginning nothing is harmed, and nobody comes who wants to be told."""
MODEL: Final = "minimax_hailuo_02_i2v"
BIG, SMALL, THRIFTY = "big", "small", "thrifty"
"""Tenants: one with nearly all jobs, one with few, and one with a budget that is soon used up."""
TENANTS: Final = {BIG: 0.85, SMALL: 0.05, THRIFTY: 0.10}
FILM_USD: Final = Decimal("0.10")

PRODUCER, XADD, CELERY, NATIVE, DROPIN = "producer", "xadd", "celery", "native", "dropin"
DOORS: Final = (PRODUCER, XADD, CELERY, NATIVE, DROPIN)
"""Where jobs come in: the Python producer, a raw `XADD`, Celery by name, and the gateway's two doors."""
BY_HTTP: Final = frozenset({NATIVE, DROPIN})
_MANY_AT_ONCE: Final = frozenset({PRODUCER, NATIVE})

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
_CALLED_BACK_SHARE: Final = 0.1
_HOOK_ANSWERS: Final = {204: 0.8, 500: 0.15, 0: 0.05}
"""What the receiver of webhooks answers (0: nothing at all), and how often."""
_HOOK_ANSWERS_A_JOB: Final = 3
_BATCHED_SHARE: Final = 0.1
_BATCH_MOST: Final = 5
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
    door: str = PRODUCER
    batch: int | None = None
    """The number of the first order of those that come in one call; `None`: this one comes by itself."""
    called_back: bool = False
    """Whether its caller wants to be told what becomes of it."""

    @property
    def call(self) -> int:
        """What names the call in which it comes."""
        return self.number if self.batch is None else self.batch

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
    def hook(self) -> str:
        """Where at the receiver its caller is told: a path."""
        return f"/hooks/{self.mark}"

    @property
    def prompt(self) -> str:
        return f"[static] {self.kind} {self.mark}"


def make_orders(seed: int, jobs: int, window_s: float) -> tuple[Order, ...]:
    """So many orders, which come over `window_s` seconds."""
    die = random.Random(f"{seed}:orders")
    names = [*KINDS, "throttled", "plain"]
    shares = [*(share for _, share in KINDS.values()), _THROTTLED_SHARE]
    kinds = die.choices(names, [*shares, 1000 - sum(shares)], k=jobs)
    times = sorted(die.uniform(0, window_s) for _ in range(jobs))
    tenants = die.choices(list(TENANTS), list(TENANTS.values()), k=jobs)
    orders = [
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
    ]
    return _through_doors(random.Random(f"{seed}:doors"), orders)


def _through_doors(die: random.Random, orders: Sequence[Order]) -> tuple[Order, ...]:
    """The orders with their doors and callers, by their times. Those of a batch come when the last of them is due."""
    weights = [die.uniform(1, 2) for _ in DOORS]
    lines: dict[tuple[str, str], list[Order]] = {}
    for order, door in zip(orders, die.choices(DOORS, weights, k=len(orders)), strict=True):
        called_back = die.random() < _CALLED_BACK_SHARE and order.at_s >= CALM_S
        lines.setdefault((door, order.tenant), []).append(replace(order, door=door, called_back=called_back))
    made: list[Order] = []
    for (door, _), line in lines.items():
        begun = 0
        while begun < len(line):
            batched = door in _MANY_AT_ONCE and die.random() < _BATCHED_SHARE
            call = line[begun : begun + (die.randint(2, _BATCH_MOST) if batched else 1)]
            begun += len(call)
            batch = call[0].number if len(call) > 1 else None
            made += [replace(order, at_s=call[-1].at_s, batch=batch) for order in call]
    return tuple(sorted(made, key=lambda order: (order.at_s, order.number)))


def hook_answers(seed: int, orders: Sequence[Order]) -> tuple[int, ...]:
    """What the receiver answers at first, one message after the other; then it takes them all."""
    count = _HOOK_ANSWERS_A_JOB * sum(order.called_back for order in orders)
    die = random.Random(f"{seed}:answers")
    return tuple(die.choices(list(_HOOK_ANSWERS), list(_HOOK_ANSWERS.values()), k=count))
