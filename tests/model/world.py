"""The product's steps on a real ledger and a real Redis, with a provider of ours, driven one call at a time."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from celery import Celery

import tasks.create
from schemas import keys
from schemas.keys import TIMETABLE
from tasks import context, failpoints
from tasks.answering import commit_answer
from tasks.context import Context
from tasks.create import create
from tasks.domain.creating import Answer, judge
from tasks.domain.doubt import DoubtPolicy
from tasks.domain.job import Job
from tasks.domain.polling import PollPolicy
from tasks.lanes import TURNS
from tasks.ledger import Ledger, tables
from tasks.ledger.jobs import get_many
from tasks.ledger.migrate import upgrade
from tasks.ledger.money import latest_attempt
from tasks.media.folderstore import FolderStore
from tasks.media.outputs import OutputFetcher
from tasks.policy import Policy
from tasks.pulse import Pulse
from tasks.spool import Spool
from tasks.vtrix.client import VtrixClient
from tasks.webhooks import Webhooks
from tests.model.vendor import Asleep, Killed, Vendor
from tests.support.asking import ThreadAsker
from tests.support.valkey import valkey_server
from workers.celeryconfig import config
from workers.settings import read_settings

MODEL = "minimax_hailuo_02_i2v"
KEY = "main"


@dataclass
class World:
    """Servers, steps and provider. `forget` empties all of it, for the next example."""

    ctx: Context
    vendor: Vendor = field(default_factory=Vendor)
    late: list[Answer] = field(default_factory=list)
    """Answers in the hands of workers that sleep."""

    def forget(self) -> None:
        failpoints._armed.clear()
        self.vendor, self.late = Vendor(), []
        self.ctx.pulse.redis.flushall()
        for name, _ in self.ctx.spool.entries():
            self.ctx.spool.done(name)
        with self.ctx.ledger.begin() as tx:
            for table in reversed(tables.metadata.sorted_tables):
                tx.execute(sa.delete(table))
        self.ctx = replace(
            self.ctx,
            providers={KEY: cast(VtrixClient, self.vendor)},
            fetcher=cast(OutputFetcher, self.vendor),
        )
        context.install(lambda: self.ctx)
        self.turn("accept")  # makes the consumer group

    # --- what can be done ---

    def alive(self, act: Callable[[], Any]) -> bool:
        """Whether the process that did this is still alive."""
        try:
            act()
        except Killed:
            return False
        return True

    def arm(self, place: str) -> None:
        """Let the next process that comes by die there."""

        def die(name: str) -> None:
            failpoints._armed.pop(name, None)
            raise Killed

        failpoints._armed[place] = die

    def disarm(self) -> None:
        failpoints._armed.clear()

    def enter(self, job_id: str, **request: Any) -> None:
        whole = {
            "model": MODEL,
            "first_frame_image": "https://pictures.example/a.jpg",
            "prompt": f"[static] {job_id}",
            **request,
        }
        self.ctx.pulse.redis.xadd(keys.REQUESTS, {"job": job_id, "request": json.dumps(whole)})

    def command(self, job_id: str, word: str) -> None:
        fields = {
            "v": "1",
            "job": job_id,
            "command": "retry" if word == "anew" else word,
            "anew": str(int(word == "anew")),
        }
        self.ctx.pulse.redis.xadd(keys.COMMANDS, fields)

    def turn(self, lane: str) -> bool:
        return self.alive(lambda: TURNS[lane](self.ctx))

    def create(self, job_id: str, outcome: str) -> None:
        """Run the create task. An outcome that is late goes to `late`, and its worker sleeps."""
        self.vendor.next_create = outcome
        if outcome == "taken":
            self.vendor.named = sorted(
                {row.provider_task_id for row in self.rows(tables.attempts)} & self.vendor.tasks.keys()
            )
        with pytest.MonkeyPatch.context() as patch:
            if outcome == "accepted_spooled":
                patch.setattr(tasks.create, "commit_answer", _refused)
            try:
                create(job_id)
            except Killed:
                pass
            except Asleep as asleep:
                self.late.append(self._answer(job_id, asleep))
        self.vendor.next_create = "accepted"

    def _answer(self, job_id: str, asleep: Asleep) -> Answer:
        with self.ctx.ledger.read() as tx:
            attempt_id = latest_attempt(tx, job_id)
        assert attempt_id is not None
        return Answer(job_id, attempt_id, KEY, judge(asleep.outcome, 0.001, 0.001))

    def wake(self, which: int) -> None:
        """Let one worker that slept write down its answer."""
        answer = self.late.pop(which % len(self.late))
        if not self.alive(lambda: commit_answer(self.ctx, answer)):
            with self.ctx.ledger.read() as tx:  # it died with it, and if nothing was written nobody ever will know
                row = tx.execute(sa.select(tables.attempts).where(tables.attempts.c.id == answer.attempt_id)).one()
            task = self.vendor.tasks.get(answer.verdict.provider_task_id or "")
            if task is not None and row.provider_task_id != task.id:
                task.told = False

    def look(self, kind: str) -> None:
        """Have every generating job looked at now."""
        self.vendor.next_poll = kind
        names = cast(list[bytes], self.ctx.pulse.redis.zrange(TIMETABLE, 0, -1))
        if names:
            self.ctx.pulse.redis.zadd(TIMETABLE, dict.fromkeys(names, 0), xx=True)
        self.turn("poll")
        self.vendor.next_poll = "running"

    def sweep_by_policy(self) -> bool:
        """A turn of the sweep where somebody chose to create anew what stays uncertain."""
        impatient = replace(self.ctx.policy, uncertain=DoubtPolicy(retry_after_s=1e-6, max_extra=1))
        return self.alive(lambda: TURNS["sweep"](replace(self.ctx, policy=impatient)))

    def lapse(self) -> None:
        """Let every lease, every wait and every deadline run out."""
        with self.ctx.ledger.begin() as tx:
            past = tx.now - timedelta(seconds=1)
            for column in _WAITS:
                tx.execute(sa.update(column.table).where(column.is_not(None)).values({column.name: past}))

    # --- what there is to see ---

    def jobs(self) -> dict[str, Job]:
        with self.ctx.ledger.read() as tx:
            ids = list(tx.execute(sa.select(tables.jobs.c.id).order_by(tables.jobs.c.id)).scalars())
            return {job.id: job for job in sorted(get_many(tx, ids), key=lambda job: job.id)}

    def rows(self, table: sa.Table) -> list[Any]:
        with self.ctx.ledger.read() as tx:
            return list(tx.execute(sa.select(table)))


_WAITS = (
    tables.jobs.c.lease_until,
    tables.jobs.c.not_before,
    tables.jobs.c.deadline_at,
    tables.attempts.c.settle_at,
    tables.provider_keys.c.paused_until,
    tables.provider_keys.c.next_create_at,
)


def _refused(_ctx: Context, _answer: Answer, _begun: Job | None = None) -> Job | None:
    raise sa.exc.OperationalError("UPDATE", {}, Exception("database is locked"))


@contextmanager
def world() -> Iterator[World]:
    """A world in a temporary folder, in memory where the machine has such a place: each commit waits for its disk."""
    memory = Path("/dev/shm")
    with ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="reelworks-model-", dir=memory if memory.is_dir() else None)
        )
        redis_url = stack.enter_context(valkey_server(Path(folder))).url
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in [name for name in os.environ if name.startswith("REELWORKS_")]:
            patch.delenv(name)
        patch.setenv("REELWORKS_REDIS_URL", redis_url)
        app = Celery("model")
        stack.callback(app.close)
        app.config_from_object(config(read_settings()))
        app.loader.import_default_modules()
        app.set_default()
        app.set_current()
        ledger = Ledger(f"sqlite:///{folder}/ledger.db")
        stack.callback(ledger.close)
        upgrade(ledger)
        pulse = Pulse(redis_url)
        stack.callback(pulse.close)
        policy = Policy(
            open_tasks_per_key=3,
            lane_idle_s=0.001,
            poll=PollPolicy(first_s=0, lost_after_s=0),
            create_retry_s=0.001,
            key_pause_s=0.001,
            deaths_most=2,
            download_tries=3,
        )
        threads = stack.enter_context(ThreadPoolExecutor(1))
        webhooks = Webhooks(policy.webhook)
        stack.callback(webhooks.close)
        made = World(
            Context(
                policy=policy,
                ledger=ledger,
                pulse=pulse,
                store=FolderStore(Path(folder) / "store"),
                spool=Spool(Path(folder) / "spool"),
                fetcher=cast(OutputFetcher, None),
                providers={},
                asker=ThreadAsker(threads),
                threads=threads,
                webhooks=webhooks,
            )
        )
        stack.callback(context.install, lambda: pytest.fail("the model is over"))
        yield made
