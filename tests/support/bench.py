"""The steps of a job's way on a bench: real servers, and a provider that answers as it was told to."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
import sqlalchemy as sa
from celery import Celery

import tasks.create
import tasks.ending
from schemas import keys
from schemas.jobs import JobView, State
from schemas.producer import Producer
from schemas.records import decode_record
from tasks import context
from tasks.context import Context
from tasks.create import create
from tasks.domain.answers import Accepted, Completed, CreateOutcome, PollAnswer, Running, Usage
from tasks.domain.figures import REQUEST_S
from tasks.domain.polling import PollPolicy
from tasks.lanes import TURNS
from tasks.ledger import Ledger, tables
from tasks.media.folderstore import FolderStore
from tasks.media.outputs import OutputFetcher
from tasks.outward import Reach
from tasks.policy import Policy
from tasks.pulse import Pulse
from tasks.spool import Spool
from tasks.transport import Deadlines
from tasks.vtrix.client import VtrixClient
from tasks.webhooks import Webhooks
from tests.support.asking import ThreadAsker
from tests.support.waiting import wait_until
from workers.celeryconfig import config
from workers.settings import read_settings

MODEL = "minimax_hailuo_02_i2v"
URL = "https://pictures.example/first.jpg"
DONE = Completed((), Usage(Decimal("0.28"), raw={"cost": "0.28"}))


@dataclass
class Provider:
    """Answers as it was told to, and counts how often it was asked."""

    creates: list[CreateOutcome | Exception] = field(default_factory=list)
    polls: list[PollAnswer] = field(default_factory=list)
    created: list[Any] = field(default_factory=list)
    polled: list[str] = field(default_factory=list)

    def create(self, body: Any) -> CreateOutcome:
        self.created.append(body)
        outcome = self.creates.pop(0) if self.creates else Accepted(f"task-{len(self.created)}")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def poll(self, provider_task_id: str) -> PollAnswer:
        self.polled.append(provider_task_id)
        return self.polls.pop(0) if self.polls else Running(0.5)


@dataclass(frozen=True)
class Bench:
    """The steps with everything they need, and short ways to look at what they did."""

    ctx: Context
    provider: Provider
    producer: Producer
    folder: Path

    def submit(self, **request: Any) -> str:
        handle = self.producer.submit(**{"model": MODEL, "first_frame_image": URL, **request})
        self.turn("accept")
        return handle.id

    def turn(self, lane: str) -> float:
        return TURNS[lane](self.ctx)

    def enter(self, entry: dict[str, Any]) -> None:
        self.ctx.pulse.redis.xadd(keys.REQUESTS, entry)

    def view(self, job_id: str) -> JobView | None:
        raw = self.ctx.pulse.redis.get(keys.view(job_id))
        return decode_record(raw) if isinstance(raw, bytes) else None

    def rows(self, table: sa.Table) -> list[Any]:
        with self.ctx.ledger.read() as tx:
            return list(tx.execute(sa.select(table)))

    def state(self, job_id: str) -> State:
        with self.ctx.ledger.read() as tx:
            return State(tx.execute(sa.select(tables.jobs.c.state).where(tables.jobs.c.id == job_id)).scalar_one())

    def messages(self, queue: str) -> int:
        return cast(int, self.ctx.pulse.redis.llen(queue))

    def lapse(self) -> None:
        """Let every lease run out."""
        with self.ctx.ledger.begin() as tx:
            past = tx.now - timedelta(seconds=1)
            table = tables.jobs
            tx.execute(sa.update(table).where(table.c.lease_until.is_not(None)).values(lease_until=past))
            tx.execute(sa.update(table).where(table.c.not_before.is_not(None)).values(not_before=past))

    def someone_waits(self) -> bool:
        """Whether anybody waits for a turn in PostgreSQL (`Transaction.take_turns`)."""
        asked = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        with self.ctx.ledger.read() as tx:
            return bool(tx.execute(asked).scalar())

    def admit(self, job_id: str) -> None:
        """Let a queued job have its turn. A key of which a create was just not sent rests for a moment first."""

        def is_admitted() -> bool:
            self.turn("admit")
            return self.state(job_id) is State.ADMITTED

        wait_until(is_admitted, what="the job's turn")

    def admitted(self, **request: Any) -> str:
        """A job that has its slot."""
        job_id = self.submit(**request)
        self.admit(job_id)
        return job_id

    def generating(self, **request: Any) -> str:
        job_id = self.admitted(**request)
        create(job_id)
        assert self.state(job_id) is State.GENERATING
        return job_id

    def look(self) -> None:
        """Have every generating job looked at now."""
        self.ctx.pulse.redis.zadd("reelworks:timetable", dict.fromkeys(self._due(), 0), xx=True)
        self.turn("poll")

    def _due(self) -> list[bytes]:
        return cast(list[bytes], self.ctx.pulse.redis.zrange("reelworks:timetable", 0, -1))


def _over() -> NoReturn:
    raise AssertionError("the bench is over")


@contextmanager
def steps_on(ledger: Ledger, pulse: Pulse, redis_url: str, folder: Path) -> Iterator[Bench]:
    """The steps of this process on real servers; REELWORKS_REDIS_URL must name the same Redis."""
    app = Celery("bench")
    app.config_from_object(config(read_settings()))
    app.loader.import_default_modules()  # the steps register themselves
    app.set_default()
    app.set_current()
    provider = Provider()
    store = FolderStore(folder / "store")
    policy = Policy(
        open_tasks_per_key=3, lane_idle_s=0.01, poll=PollPolicy(first_s=0), create_retry_s=0.01, key_pause_s=0.01
    )
    webhooks = Webhooks(policy.webhook, Reach(private=frozenset({"127.0.0.1"})))
    with ThreadPoolExecutor(4) as threads, Producer(redis_url) as producer, pytest.MonkeyPatch.context() as patch:
        for step in (tasks.ending, tasks.create):
            patch.setattr(step, "fill", lambda _ctx: 0)  # on the bench one step does not lead to the next by itself
        ctx = Context(
            policy=policy,
            ledger=ledger,
            pulse=pulse,
            store=store,
            spool=Spool(folder / "spool"),
            fetcher=OutputFetcher(store, 1_000_000, Deadlines(10, 10, 60), Reach(private=frozenset({"127.0.0.1"}))),
            providers={"main": cast(VtrixClient, provider)},
            asker=ThreadAsker(threads, lambda took_s: pulse.tally.took(REQUEST_S, took_s, "poll")),
            threads=threads,
            webhooks=webhooks,
        )
        context.install(lambda: ctx)
        TURNS["accept"](ctx)  # makes the consumer group
        yield Bench(ctx, provider, producer, folder)
        context.install(_over)
        webhooks.close()
    app.close()
