"""The provider behind its HTTP face: takes orders, lets tasks live, has films made, writes the bill, calls back.

Owns the life of tasks from create to end, over restarts too. Refuses to know HTTP requests: it works on decoded
bodies and key aliases.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from . import wire
from .access import Access
from .bill import Bill, BillWriter, fingerprint_of
from .callbacks import Callbacks
from .exchange import Answer, Reply
from .faults import FAULTS
from .films import Film, Films, FilmSpec, RenderStopped
from .links import Links
from .outside import NotFetched, Outside
from .records import Records
from .scenario import Call, Plan, Scenario
from .tasks import PRICE_USD, OutputFile, Task, TaskIds, latency_s
from .validation import Order, read_order

NOT_FETCHED_CODE: Final = 10004097
NOT_MADE_CODE: Final = 10004095


@dataclass(frozen=True)
class Options:
    """What the simulator is started with. `speed`: simulated seconds in a real one. `url_ttl_s`: simulated seconds."""

    bill: Path
    data: Path
    speed: float = 30.0
    seed: int = 0
    keys: tuple[str, ...] = ()
    broke_keys: tuple[str, ...] = ()
    open_limit: int = 200
    rate_per_minute: int = 600
    url_ttl_s: float = 3600.0


class Provider:
    """All tasks of one bill and data folder. They live in memory; their records, films and bill outlive the process."""

    def __init__(self, options: Options, scenario: Scenario) -> None:
        self.options = options
        self.scenario = scenario
        self.access = Access(
            keys=options.keys,
            broke=options.broke_keys,
            open_limit=options.open_limit,
            rate_per_minute=options.rate_per_minute,
            speed=options.speed,
        )
        self.bill = BillWriter(options.bill)
        self.films = Films(options.data / "films")
        self.links = Links(options.url_ttl_s / options.speed)
        self.records = Records(options.data / "tasks")
        self.tasks: dict[str, Task] = {}
        self.counts: Counter[str] = Counter()
        self._outside = Outside()
        self._ids = TaskIds()
        self.callbacks = Callbacks(self._outside, self.links, self.counts, self._ids.next)
        self._accepted = 0
        self._priced: set[str] = set()
        self._running: set[asyncio.Task[None]] = set()

    def resume(self, bill: Bill) -> None:
        """Takes up the tasks that an earlier process left, those on its `bill`; to be called before the first request.

        Their time went on meanwhile: what should have ended ends now, and what was priced is not priced again.
        """
        for task in self.records.load({line.task for line in bill.creates}, time.time()):
            wire.prepare_poll(task)
            self.tasks[task.id] = task
            if task.status != "in_progress":
                if task.film is not None:
                    task.outputs = _outputs(task, self.films.named(task.film))
                task.ended.set()
                continue
            self.access.opened(task.key)
            if task.id in bill.usd_by_task:
                self._priced.add(task.id)
            if not task.plan.poll.never:
                self._start(self._live(task, time.monotonic() - task.begun_s))
            if task.order.callback_url and not task.plan.callback.silent:
                self._start(self.callbacks.end(task, task.order.callback_url))

    async def create(self, key: str, raw: bytes, host: str) -> Answer:
        """Answers a create of `key` (alias). Raises `Refused` or `Throttled`: nothing was created then."""
        self.access.admit(key, time.monotonic())
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError):
            body = None
        order = read_order(body)
        plan = self.scenario.plan(Call(order.prompt, key, order.model, order.resolution))
        if plan.create.status is not None:
            self.counts[f"refused.{plan.create.status}"] += 1
            return _scripted_refusal(plan)
        fault = FAULTS[plan.create.fault] if plan.create.fault else None
        if fault:
            self.counts[f"fault.{plan.create.fault}"] += 1
            if not fault.accepts:
                return fault.bend(Reply(200, b""))
        if order.callback_url and plan.callback.strict and not await self.callbacks.challenge(order.callback_url):
            return wire.refusal(400, "callback challenge failed", plan.create.body)
        task = await self._accept(key, order, plan, host, fingerprint_of(body["input"][0]["params"]))
        if plan.create.finished:
            await task.ended.wait()
            reply = self.poll(task, host)
        else:
            reply = wire.created(task)
        return fault.bend(reply) if fault else reply

    async def _accept(self, key: str, order: Order, plan: Plan, host: str, fingerprint: str) -> Task:
        self._accepted += 1
        latency = plan.poll.latency_s
        if latency is None:
            latency = latency_s(order.model, order.resolution, order.duration_s, self.options.seed, self._accepted)
        if plan.create.finished:
            latency = 0.0
        task = Task(self._ids.next(), key, order, plan, latency, host, time.time(), time.monotonic())
        wire.prepare_poll(task)
        # Counted open before the first await, so that no two creates share the last free place.
        self.access.opened(key)
        if plan.poll.never:
            task.forget_pictures()
        # Only the bill makes it an accepted one: a record without its line is passed over at the next start.
        await self.records.keep(task, task.status)
        await self.bill.create(
            task=task.id,
            key=key,
            model=order.model,
            resolution=order.resolution,
            duration_s=order.duration_s,
            fingerprint=fingerprint,
        )
        other_id = next(reversed(self.tasks), None)
        self.tasks[task.id] = task
        self.counts["accepted"] += 1
        if not plan.poll.never:
            self._start(self._live(task))
        url = order.callback_url
        if url and not plan.callback.silent:
            if plan.callback.early:
                await self.callbacks.begin(task, url, other_id)
                self._start(self.callbacks.end(task, url))
            else:
                self._start(self._announce(task, url, other_id))
        return task

    def poll(self, task: Task, host: str) -> Reply:
        """The answer to a poll by a client that knows this server as `host`, as it would be without a fault."""
        if task.status == "in_progress" or task.steps_back():
            return Reply(200, wire.running(task, task.progress(time.monotonic(), self.options.speed)))
        body = wire.ended(task, lambda file: self.links.make(host, task.id, file.name))
        return Reply(200, wire.encoded(body))

    async def _live(self, task: Task, lived_s: float = 0.0) -> None:
        """Brings a task to its end: when its time has come, of which `lived_s` real seconds are over, and not before
        its film exists."""
        left_s = max(0.0, task.latency_s / self.options.speed - lived_s)
        try:
            made, _ = await asyncio.gather(self._make(task), asyncio.sleep(left_s))
        except RenderStopped:
            return  # the simulator is ending: its next start takes the task up again
        if isinstance(made, Film):
            task.film, task.outputs = made.video.stem, _outputs(task, made)
            await self._end(task, "completed", None)
        else:
            await self._end(task, "failed", made)

    async def _make(self, task: Task) -> Film | tuple[object, str]:
        """The film of a task, or the code and sentence of its failure. Raises `RenderStopped`."""
        try:
            return await self._film(task)
        except RenderStopped:
            raise
        except NotFetched as error:
            return NOT_FETCHED_CODE, str(error)
        except Exception as error:  # noqa: BLE001 - decoders raise anything; a task that never ends would keep its slot
            self.counts[f"not_made.{type(error).__name__}"] += 1
            return NOT_MADE_CODE, "the film could not be made"
        finally:
            task.forget_pictures()

    async def _film(self, task: Task) -> Film | tuple[object, str]:
        order, poll, output = task.order, task.plan.poll, task.plan.output
        if poll.outcome == "failed":
            return poll.code, poll.message
        resolution, duration_s = output.resolution or order.resolution, output.duration_s or order.duration_s
        first = None if order.first is None else await self._outside.picture("first_frame_image", order.first)
        last = None if order.last is None else await self._outside.picture("last_frame_image", order.last)
        return await self.films.get(FilmSpec(first, last, order.prompt, resolution, duration_s, order.watermark))

    async def _end(self, task: Task, status: str, error: tuple[object, str] | None) -> None:
        scripted = task.plan.poll.cost_usd
        if scripted is not None:
            task.cost_usd = Decimal(scripted)
        elif status == "completed":
            task.cost_usd = PRICE_USD[task.order.model][task.order.resolution, task.order.duration_s]
        if task.cost_usd is not None and task.id not in self._priced:
            await self.bill.price(task.id, task.cost_usd)
        task.error, task.ended_s = error, time.time()
        await self.records.keep(task, status)
        task.status = status
        self.access.closed(task.key)
        self.counts[status] += 1
        task.ended.set()

    async def _announce(self, task: Task, url: str, other_id: str | None) -> None:
        await self.callbacks.begin(task, url, other_id)
        await self.callbacks.end(task, url)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        running = asyncio.create_task(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Leaves all tasks where they stand, finishes records and bill and stops the renderer."""
        for running in list(self._running):
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._outside.close()
        for close in (self.films.close, self.records.close):
            await asyncio.get_running_loop().run_in_executor(None, close)
        await self.bill.close()


def _scripted_refusal(plan: Plan) -> Reply:
    status, headers = plan.create.status or 500, {}
    if plan.create.retry_after is not None:
        headers["Retry-After"] = str(plan.create.retry_after)
    return wire.refusal(status, "refused by the scenario", plan.create.body, headers)


def _outputs(task: Task, film: Film) -> list[list[OutputFile]]:
    plan, outputs, index = task.plan.output, [], 0
    for _ in range(plan.count or 0):
        files = []
        for _ in range(plan.contents):
            duration_s = float(plan.duration_s or task.order.duration_s)
            files.append(OutputFile(f"{index}.mp4", "video", film.video, "video/mp4", duration_s))
            index += 1
        if plan.cover:
            files.append(OutputFile(f"{index}.jpg", "image", film.cover, "image/jpeg"))
            index += 1
        outputs.append(files)
    return outputs
