"""Whole lives of jobs on one engine: fed all at once, waited for, and weighed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.engines import Engine
from tests.bench.figures import quantile
from tests.bench.processes import cpu_s
from tests.bench.stand import Stand, more


class TooSlow(Exception):
    """The jobs were not done in time; says how far it came."""


@dataclass(frozen=True)
class Life:
    """One round of jobs. `lags_s`: from completed at the provider to done here, a job each."""

    jobs: int
    cpu_ms_job: float
    polls_job: float
    lags_s: Sequence[float]
    commands: Mapping[str, int]
    took_s: float
    """From the first create to the last that was done."""

    @property
    def commands_job(self) -> float:
        return sum(self.commands.values()) / self.jobs

    def lag_s(self, share: float) -> float:
        return quantile(self.lags_s, share)


def live(engine: Engine, stand: Stand, jobs: int, job_s: float, *, within_s: float) -> Life:
    """So many jobs that the provider takes `job_s` seconds for. Raises `TooSlow`."""
    stand.provider.begin(job_s)
    done_before, commands_before, cpu_before = engine.done(), stand.commands(), cpu_s(engine.pids())
    engine.feed(jobs)
    _wait(engine, done_before + jobs, within_s)
    cpu_used_s = cpu_s(engine.pids()) - cpu_before
    commands = more(commands_before, stand.commands())
    tasks = stand.provider.seen()["tasks"]
    ends = engine.ends(tasks.keys())
    return Life(
        jobs,
        cpu_used_s * 1000 / jobs,
        sum(task[3] for task in tasks.values()) / jobs,
        sorted(ends[name] - task[1] for name, task in tasks.items() if name in ends),
        commands,
        max(ends.values()) - min(task[0] for task in tasks.values()),
    )


def _wait(engine: Engine, number: int, within_s: float) -> None:
    until = time.monotonic() + within_s
    while (done := engine.done()) < number:
        if time.monotonic() > until:
            raise TooSlow(f"{number - done} jobs were not done within {within_s:g} s")
        time.sleep(0.1)
