"""What a job costs while ever more finished ones stand in the database."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from unittest import mock

from schemas.jobs import State
from tasks import context
from tasks.create import create
from tasks.domain.answers import Accepted, Completed, CreateOutcome, PollAnswer, RemoteOutput, Usage
from tasks.finish import download, record
from tasks.ledger import Ledger
from tasks.ledger.migrate import upgrade
from tasks.media.outputs import OutputFetcher
from tasks.outward import Reach
from tasks.pulse import Pulse
from tasks.transport import Deadlines
from tasks.vtrix.client import VtrixClient
from tests.bench.figures import Finding, Measured, Row, at_most, ratio
from tests.bench.fill import multiply
from tests.bench.group import Group, Place
from tests.bench.stack import REQUEST
from tests.bench.stand import Stand, stand
from tests.support.bench import Bench, steps_on

_ROWS = (Row("cost_with_finished_jobs", "times", at_most(1.15), "the same with 1,000 finished jobs"),)
_TEMPLATES = 50
_FEW = 1000


class _Finishing:
    """A provider that has finished whatever it is asked about."""

    def __init__(self, url: str) -> None:
        self._film = RemoteOutput("video", f"{url}/film/any.mp4")

    def create(self, _body: Any) -> CreateOutcome:
        return Accepted(uuid.uuid4().hex)

    def poll(self, _provider_task_id: str) -> PollAnswer:
        return Completed((self._film,), Usage(Decimal("0.10"), raw={"cost": "0.10"}))


def _measure(place: Place) -> Mapping[str, Finding]:
    many, jobs = place.scale.pick(1_000_000, 100_000), place.scale.pick(200, 40)
    small, big = place.folder / "small.db", place.folder / "big.db"
    with stand(place.sub("stand")) as made:
        with _steps(made, small) as bench:
            _live(bench, _TEMPLATES)
            bench.lapse()
            _settle(bench)
        multiply(small, _FEW // _TEMPLATES)
        shutil.copy(small, big)
        place.say(f"growth: {many:,} finished jobs are written")
        multiply(big, many // _FEW)
        costs: dict[Path, list[float]] = {small: [], big: []}
        for _ in range(place.scale.repeats):
            for database, found in costs.items():
                with _steps(made, database) as bench:
                    _settle(bench)
                    _live(bench, 5)  # statements are made, pages are read
                    found.append(_live(bench, jobs))
    note = f"{Measured(costs[big]).value:.1f} ms with {many:,} finished jobs, {Measured(costs[small]).value:.1f} ms"
    return {"cost_with_finished_jobs": ratio(costs[big], costs[small], f"{note}, all steps in one process")}


@contextmanager
def _steps(made: Stand, database: Path) -> Iterator[Bench]:
    """The steps in this process, on this database and an empty Redis."""
    made.redis.flushall()
    ledger, pulse = Ledger(f"sqlite:///{database}"), Pulse(made.redis_url)
    upgrade(ledger)
    folder = made.folder / uuid.uuid4().hex
    folder.mkdir()
    try:
        with (
            mock.patch.dict(os.environ, {"REELWORKS_REDIS_URL": made.redis_url}),
            steps_on(ledger, pulse, made.redis_url, folder) as bench,
        ):
            old = bench.ctx
            reach = Reach(private=frozenset({"127.0.0.1"}))
            with closing(OutputFetcher(old.store, 10_000_000, Deadlines(5, 30, 60), reach)) as fetcher:
                ctx = replace(
                    old,
                    providers={"main": cast(VtrixClient, _Finishing(made.provider.url))},
                    policy=replace(old.policy, open_tasks_per_key=100_000),
                    fetcher=fetcher,
                )
                context.install(lambda: ctx)
                yield replace(bench, ctx=ctx)
    finally:
        pulse.close()
        ledger.close()


def _settle(bench: Bench) -> None:
    """Let the sweep find that all is in order, so that it has nothing more to mend."""
    for _ in range(1000):
        if bench.turn("sweep") > 0:
            return
    raise AssertionError("the sweep found no end")


def _live(bench: Bench, number: int) -> float:
    """CPU milliseconds a job, from accepted to completed, a turn of each lane a batch included."""
    ids = [handle.id for handle in bench.producer.submit_many([REQUEST] * number)]
    before = time.process_time()
    _until(bench, "accept", lambda: not bench.ctx.pulse.redis.xlen("reelworks:requests"))
    _until(bench, "admit", lambda: all(bench.state(job) is not State.QUEUED for job in ids[-1:]))
    for job in ids:
        create(job)
    for _ in range(number):
        bench.look()
        if not bench.ctx.pulse.redis.exists("reelworks:timetable"):
            break
    for job in ids:
        download(job)
        record(job)
    bench.turn("sweep")
    cost_ms = (time.process_time() - before) * 1000 / number
    states = [bench.state(job) for job in ids]
    assert set(states) == {State.COMPLETED}, f"of {number} jobs {states.count(State.COMPLETED)} were completed"
    return cost_ms


def _until(bench: Bench, lane: str, done: Any) -> None:
    for _ in range(1000):
        bench.turn(lane)
        if done():
            return
    raise AssertionError(f"the lane {lane} found no end")


GROUP = Group("growth", _ROWS, _measure)
