"""What the poll schedule is worth: polls a job against the lag with which ends are seen, simulated.

`python -m tests.bench.polling [--jobs 500] [--seed 7]`. Nothing is timed but one decision: the rest is counted, and the
same seed gives the same table. Jobs come one a second on average, and what is learned is learned on the way, from
nothing. The first fifth of the jobs, for which nothing can be known yet, does not count; the slowdowns half-way do.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tasks.domain.knowledge import Kind, Known, Seen
from tasks.domain.polling import PollPolicy, next_look_s
from tasks.domain.sketch import Sketch

KIND = Kind("model", "768P", 6, 12)
READ_EVERY_S = 5.0
WARM = 0.2
INTERVALS = (0.7, 1.4, 2.5, 3.5, 6.0, 8.0, 9.5)

Draw = Callable[[random.Random, float], float]
"""A law of latency: how long a task takes, given which share of the jobs came before it."""


def lognormal(median_s: float, sigma: float) -> Draw:
    return lambda die, _: die.lognormvariate(math.log(median_s), sigma)


def bimodal(die: random.Random, _: float) -> float:
    return die.lognormvariate(math.log(20 if die.random() < 0.5 else 60), 0.1)


LAWS: dict[str, Draw] = {
    "constant 20 s": lambda die, _: 20.0,
    "uniform 15 to 25 s": lambda die, _: die.uniform(15, 25),
    "lognormal 90 s, sigma 0.2": lognormal(90, 0.2),
    "lognormal 90 s, sigma 0.4": lognormal(90, 0.4),
    "bimodal 20 s and 60 s": bimodal,
    "heavy tail from 15 s": lambda die, _: min(900.0, 15 * die.paretovariate(1.5)),
    "constant 20 s, then 60 s": lambda die, part: 20.0 if part < 0.5 else 60.0,
    "lognormal 30 s, then 90 s": lambda die, part: die.lognormvariate(math.log(30 if part < 0.5 else 90), 0.2),
    "lognormal 90 s, then 30 s": lambda die, part: die.lognormvariate(math.log(90 if part < 0.5 else 30), 0.2),
}


@dataclass(frozen=True)
class Provider:
    """What it tells: progress (two digits, true to the time that has passed), and when a task began and ended."""

    progress: bool = False
    stamps: bool = False


@dataclass
class Learner:
    """What the poll lane keeps in Redis, and how often it reads it."""

    policy: PollPolicy
    sketches: dict[str, Sketch] = field(default_factory=dict)
    known: Known | None = None
    read_at_s: float = -math.inf

    def at(self, now_s: float) -> Known:
        if self.known is None or now_s - self.read_at_s >= READ_EVERY_S:
            self.known, self.read_at_s = Known(dict(self.sketches), KIND, self.policy.bounds()), now_s
        return self.known

    def learn(self, seen: Seen, now_s: float) -> None:
        for name, shares in self.at(now_s).deposits([seen]):
            self.sketches[name] = self.sketches.get(name, Sketch()).with_one(shares)


@dataclass(frozen=True)
class Result:
    polls: float
    p50_s: float
    p95_s: float


Look = Callable[["_Job", float, random.Random], float]
"""Seconds until the next look at a job of an age."""


@dataclass
class _Job:
    created_s: float
    took_s: float
    polls: int = 0
    looked_s: float = 0.0
    progress: float | None = None
    rising: bool = False


def simulate(
    draw: Draw, provider: Provider, next_s: Look, jobs: int, seed: int, learner: Learner | None = None
) -> Result:
    """Follow so many jobs, each look at its time; `learner` is told of every end when it is seen."""
    die = random.Random(seed)
    heap: list[tuple[float, int, _Job]] = []
    now_s = 0.0
    for n in range(jobs):
        now_s += die.expovariate(1.0)
        job = _Job(now_s, draw(die, n / jobs))
        heapq.heappush(heap, (now_s, n, job))
    spread, polls, lags = random.Random(seed + 1), 0, []
    while heap:
        now_s, n, job = heapq.heappop(heap)
        age_s, counts = now_s - job.created_s, n >= jobs * WARM
        if age_s > 0:
            polls, job.polls = polls + counts, job.polls + 1
            if age_s >= job.took_s:
                if counts:
                    lags.append(age_s - job.took_s)
                if learner is not None:
                    learner.learn(_seen(job, age_s, provider), now_s)
                continue
            progress = round(age_s / job.took_s, 2) if provider.progress else None
            job.rising = progress is not None and progress > (job.progress or 0)
            job.looked_s, job.progress = age_s, progress
        heapq.heappush(heap, (now_s + max(1e-6, next_s(job, now_s, spread)), n, job))
    lags.sort()
    return Result(polls / len(lags), lags[len(lags) // 2], lags[int(len(lags) * 0.95)])


def _seen(job: _Job, age_s: float, provider: Provider) -> Seen:
    began = math.floor(job.created_s)
    took_s = float(math.floor(job.created_s + job.took_s) - began) if provider.stamps else None
    return Seen.between(job.looked_s, age_s, took_s, job.progress)


def fixed(interval_s: float) -> Look:
    """The schedule without knowledge."""
    policy = PollPolicy(interval_s=interval_s)

    def next_s(job: _Job, now_s: float, spread: random.Random) -> float:
        age_s = now_s - job.created_s
        return next_look_s(policy, age_s=age_s, polls=job.polls, retry_after_s=None, spread=spread.random())

    return next_s


def exponential(job: _Job, _: float, spread: random.Random) -> float:
    return min(60.0, 2.0 * 1.5**job.polls) * spread.uniform(0.9, 1.1)


def learned(learner: Learner) -> Look:
    def next_s(job: _Job, now_s: float, spread: random.Random) -> float:
        return next_look_s(
            learner.policy,
            age_s=now_s - job.created_s,
            polls=job.polls,
            retry_after_s=None,
            spread=spread.random(),
            known=learner.at(now_s),
            progress=job.progress if job.rising else None,
        )

    return next_s


def ours(draw: Draw, provider: Provider, jobs: int, seed: int, policy: PollPolicy | None = None) -> Result:
    learner = Learner(policy or PollPolicy())
    return simulate(draw, provider, learned(learner), jobs, seed, learner)


def decision_us() -> float:
    """CPU of one decision, its plan made: median of five rounds."""
    learner = Learner(PollPolicy())
    simulate(LAWS["lognormal 90 s, sigma 0.4"], Provider(), learned(learner), 200, 1, learner)
    job, die, look = _Job(0.0, 1e9, polls=3), random.Random(1), learned(learner)
    rounds = []
    for _ in range(5):
        begun = time.process_time()
        for n in range(10_000):
            look(job, learner.read_at_s + n / 2500, die)
        rounds.append((time.process_time() - begun) * 100)
    return sorted(rounds)[2]


@dataclass(frozen=True)
class Row:
    law: str
    provider: Provider
    results: dict[str, Result]
    at_equal_lag: float
    """Polls a job as a share of fixed 5 s, where p95 is no worse."""
    at_equal_polls: float
    """p95 as a share of fixed 5 s, where polls are no more."""


def measure(law: str, provider: Provider, jobs: int, seed: int) -> Row:
    draw = LAWS[law]
    results = {f"fixed {g:g}": simulate(draw, provider, fixed(g), jobs, seed) for g in (2.0, 5.0, 10.0)}
    results["exponential"] = simulate(draw, provider, exponential, jobs, seed)
    results["ours"] = ours(draw, provider, jobs, seed)
    base = results["fixed 5"]
    tried = [ours(draw, provider, jobs, seed, replace(PollPolicy(), interval_s=each)) for each in INTERVALS]
    fewest = min((each.polls for each in tried if each.p95_s <= base.p95_s), default=math.nan)
    quickest = min((each.p95_s for each in tried if each.polls <= base.polls), default=math.nan)
    return Row(law, provider, results, fewest / base.polls, quickest / base.p95_s)


def show(rows: Sequence[Row]) -> str:
    names = ("ours", "fixed 2", "fixed 5", "fixed 10", "exponential")
    lines = [
        "polls a job, lag p50/p95 in seconds; then polls at equal p95 and p95 at equal polls, as shares of fixed 5 s",
        f"{'law':28}{'tells':12}" + "".join(f"{name:>21}" for name in names) + f"{'=p95':>8}{'=polls':>8}",
    ]
    for row in rows:
        tells = "+".join(name[:5] for name, yes in vars(row.provider).items() if yes) or "-"
        figures = [row.results[name] for name in names]
        cells = "".join(f"{f'{r.polls:.1f}  {r.p50_s:.2f}/{r.p95_s:.2f}':>21}" for r in figures)
        lines.append(f"{row.law:28}{tells:12}{cells}{_met(row.at_equal_lag)}{_met(row.at_equal_polls)}")
    return "\n".join(lines)


def _met(share: float) -> str:
    return f"{share:>7.2f}{'*' if share <= 0.5 else ' '}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    told = (Provider(), Provider(stamps=True), Provider(progress=True, stamps=True))
    rows = [measure(law, provider, given.jobs, given.seed) for law in LAWS for provider in told]
    print(show(rows))  # noqa: T201 (what it is for)
    print(f"* target met (at most 0.50); one decision takes {decision_us():.1f} µs of CPU")  # noqa: T201


if __name__ == "__main__":
    main()
