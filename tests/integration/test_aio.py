"""The producer for asyncio: that it never holds the event loop up, and hears of all jobs over one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from schemas import keys, waiting
from schemas.aio import AsyncHandle, AsyncProducer
from schemas.errors import JobCancelled, JobFailed, NotSubmitted, RequestInvalid, WaitTimeout
from schemas.jobs import JobEvent, State
from schemas.records import encode_record
from tests.support.requests import raw
from tests.support.valkey import Valkey, valkey_server
from tests.support.waiting import wait_until
from tests.support.workerside import STORY, entries, job_view, listeners, publish

MANY = 500


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    with valkey_server(tmp_path) as server:
        yield server


def run(valkey: Valkey, work: Callable[[AsyncProducer], Awaitable[None]], **options: Any) -> None:
    async def whole() -> None:
        async with asyncio.timeout(100), AsyncProducer(valkey.url, **options) as producer:
            await work(producer)

    asyncio.run(whole())


async def until(condition: Callable[[], Any], what: str) -> None:
    """As `wait_until`, within the loop."""
    try:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{what} did not come true") from None


def connections(valkey: Valkey) -> int:
    """How many there are on which views are heard of."""
    return len(valkey.client.client_list("pubsub"))


async def followed(valkey: Valkey, handle: AsyncHandle) -> tuple[asyncio.Task[list[JobEvent]], list[JobEvent]]:
    """A task that follows the job's events into a list, once it hears of them."""
    seen: list[JobEvent] = []

    async def follow() -> list[JobEvent]:
        async for event in handle.events(timeout=60):
            seen.append(event)  # noqa: PERF401 (seen while it grows)
        return seen

    task = asyncio.create_task(follow())
    await until(lambda: listeners(valkey, handle.id), "the subscription")
    return task, seen


def test_submissions_are_those_of_the_producer(valkey: Valkey) -> None:
    async def work(producer: AsyncProducer) -> None:
        job = await producer.submit(**raw(prompt="[rise, shake, follow, static]", idempotency_key="k"))
        assert (await producer.submit(**raw(prompt="[rise, shake, follow, static]", idempotency_key="k"))).id == job.id
        assert [warning.code for warning in job.warnings] == ["camera_too_many_combined"]
        many = await producer.submit_many([raw(), raw(duration=10)])
        assert [entry["job"] for entry in entries(valkey)] == [job.id, *(each.id for each in many)]
        with pytest.raises(RequestInvalid):
            await producer.submit(**raw(duration=7))
        assert str(await producer.estimate(**raw())) == "0.28"
        assert (await job.view(), await job.state(), await job.done()) == (None, None, False)
        publish(valkey, job_view(job.id, *STORY))
        assert (await job.state(), await job.done()) == (State.COMPLETED, True)
        assert (await job.info())["model"] == job_view(job.id, *STORY).model
        assert await producer.handle(job.id).view() == job_view(job.id, *STORY)
        await job.cancel()
        await job.retry(anew=True)
        commands: Any = valkey.client.xrange(keys.COMMANDS)
        assert [fields[b"command"] for _, fields in commands] == [b"cancel", b"retry"]

    run(valkey, work)


def test_hundreds_of_jobs_are_awaited_over_one_connection(valkey: Valkey) -> None:
    async def work(producer: AsyncProducer) -> None:
        ids = [f"job-{number}" for number in range(MANY)]
        waits = [asyncio.create_task(producer.handle(each).get(timeout=90)) for each in ids]
        await until(lambda: all(listeners(valkey, each) for each in (ids[0], ids[-1])), "all subscriptions")
        assert connections(valkey) == 1
        for each in ids:
            publish(valkey, job_view(each, *STORY))
        assert [view.job_id for view in await asyncio.gather(*waits)] == ids
        await until(lambda: not connections(valkey), "the end of the connection that nobody needs")

    run(valkey, work)


def test_a_wait_ends_as_the_job_did(valkey: Valkey) -> None:
    async def work(producer: AsyncProducer) -> None:
        publish(valkey, job_view("done", *STORY))
        publish(valkey, job_view("lost", State.FAILED, error_code="010004095", error_message="Internal"))
        publish(valkey, job_view("gone", State.CANCELLED))
        for timeout in (10, 0):
            assert (await producer.handle("done").get(timeout)).state is State.COMPLETED
            with pytest.raises(JobFailed, match="010004095"):
                await producer.handle("lost").get(timeout)
            with pytest.raises(JobCancelled):
                await producer.handle("gone").get(timeout)
            with pytest.raises(WaitTimeout):
                await producer.handle("nobody").get(timeout and 0.05)

    run(valkey, work)


def test_events_come_from_the_first_to_the_last_each_once(valkey: Valkey) -> None:
    async def work(producer: AsyncProducer) -> None:
        publish(valkey, job_view("job-1", *STORY[:2]))
        task, seen = await followed(valkey, producer.handle("job-1"))
        for count in range(2, len(STORY) + 1):
            publish(valkey, job_view("job-1", *STORY[:count]))
            publish(valkey, job_view("job-1", *STORY[:count]))
        await task
        assert [event.state for event in seen] == list(STORY)

    run(valkey, work)


def test_an_older_view_that_comes_late_takes_no_newer_ones_place(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that was read before the newer view was published may come after it."""
    monkeypatch.setattr(waiting, "REREAD_S", 3600.0)

    async def work(producer: AsyncProducer) -> None:
        seen: list[JobEvent] = []
        busy = asyncio.Event()

        async def follow() -> None:
            async for event in producer.handle("job-1").events(timeout=60):
                seen.append(event)
                await busy.wait()

        publish(valkey, job_view("job-1", STORY[0]))
        task = asyncio.create_task(follow())
        await until(lambda: seen, "the first event")
        publish(valkey, job_view("job-1", *STORY))
        publish(valkey, older := job_view("job-1", *STORY[:2]))
        (followed_job,) = producer._listener._jobs.values()
        await until(lambda: followed_job.raw == encode_record(older).encode(), "the older view")
        busy.set()
        await task
        assert [event.state for event in seen] == list(STORY)

    run(valkey, work)


def test_the_record_is_read_once_the_subscription_stands_for_each_who_waits(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "REREAD_S", 3600.0)

    async def work(producer: AsyncProducer) -> None:
        publish(valkey, job_view("job-1", *STORY[:3]), tell=False)
        first, seen = await followed(valkey, producer.handle("job-1"))
        await until(lambda: len(seen) == 3, "the reading of the record")
        second, seen_too = await followed(valkey, producer.handle("job-1"))
        await until(lambda: len(seen_too) == 3, "the reading of the record for the second one")
        publish(valkey, job_view("job-1", *STORY))
        assert await first == await second

    run(valkey, work)


def test_a_view_that_was_not_published_is_found_by_reading_again(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "REREAD_S", 0.05)

    async def work(producer: AsyncProducer) -> None:
        task, seen = await followed(valkey, producer.handle("job-1"))
        publish(valkey, job_view("job-1", *STORY), tell=False)
        await task
        assert len(seen) == len(STORY)

    run(valkey, work)


def test_what_is_published_by_others_on_the_channel_is_passed_over(valkey: Valkey) -> None:
    async def work(producer: AsyncProducer) -> None:
        task, seen = await followed(valkey, producer.handle("job-1"))
        valkey.client.publish(keys.view("job-1"), b"\xff{not a record")
        publish(valkey, job_view("job-1", *STORY))
        await task
        assert len(seen) == len(STORY)

    run(valkey, work)


def test_who_stops_waiting_is_heard_of_no_more(valkey: Valkey) -> None:
    async def work(producer: AsyncProducer) -> None:
        task, _ = await followed(valkey, producer.handle("job-1"))
        other, _ = await followed(valkey, producer.handle("job-2"))
        task.cancel()
        await until(lambda: not listeners(valkey, "job-1"), "the end of the subscription")
        assert listeners(valkey, "job-2")
        publish(valkey, job_view("job-2", *STORY))
        assert len(await other) == len(STORY)

    run(valkey, work)


def test_a_wait_outlives_a_restart_of_redis(valkey: Valkey) -> None:
    async def work(producer: AsyncProducer) -> None:
        task, seen = await followed(valkey, producer.handle("job-1"))
        await asyncio.to_thread(valkey.stop)
        await asyncio.to_thread(valkey.start)
        publish(valkey, job_view("job-1", *STORY))
        await task
        assert len(seen) == len(STORY)

    run(valkey, work)


def test_waits_end_when_redis_stays_away_and_later_ones_begin_anew(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "OUTAGE_S", 0.5)

    async def work(producer: AsyncProducer) -> None:
        waits = [asyncio.create_task(producer.handle(f"job-{number}").get()) for number in range(3)]
        await until(lambda: listeners(valkey, "job-2"), "the subscription")
        await asyncio.to_thread(valkey.stop)
        for result in await asyncio.gather(*waits, return_exceptions=True):
            assert isinstance(result, redis.ConnectionError)
        await asyncio.to_thread(valkey.start)
        publish(valkey, job_view("job-1", *STORY))
        assert (await producer.handle("job-1").get(timeout=20)).state is State.COMPLETED

    run(valkey, work)


def test_closing_ends_what_is_waited_for(valkey: Valkey) -> None:
    async def work(producer: AsyncProducer) -> None:
        wait = asyncio.create_task(producer.handle("job-1").get())
        await until(lambda: listeners(valkey, "job-1"), "the subscription")
        await producer.aclose()
        with pytest.raises(redis.ConnectionError, match="closed"):
            await wait

    run(valkey, work)
    wait_until(lambda: not connections(valkey), what="the end of the connection")


Call = Callable[[AsyncProducer], Coroutine[Any, Any, Any]]
CALLS: dict[str, Call] = {
    "submit": lambda producer: producer.submit(**raw()),
    "submit_many": lambda producer: producer.submit_many([raw()] * 3),
    "state": lambda producer: producer.handle("job-1").state(),
    "info": lambda producer: producer.handle("job-1").info(),
    "cancel": lambda producer: producer.handle("job-1").cancel(),
    "get": lambda producer: producer.handle("job-1").get(timeout=1),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("warm", [True, False], ids=["connected", "new"])
def test_the_loop_goes_on_while_redis_stands_still(valkey: Valkey, name: str, warm: bool) -> None:
    async def work(producer: AsyncProducer) -> None:
        if warm:
            await producer.submit(**raw())
        valkey.freeze()
        call = asyncio.create_task(CALLS[name](producer))
        ticks = 0
        while not call.done():
            ticks += 1
            await asyncio.sleep(0.005)
        # A call that held the loop up would leave time for two: one before it and one after.
        assert ticks > 20
        with pytest.raises((NotSubmitted, redis.TimeoutError, WaitTimeout)):
            await call

    try:
        run(valkey, work, timeout_s=1.0)
    finally:
        valkey.thaw()


def test_hundreds_of_waits_are_no_burden_while_redis_stands_still(valkey: Valkey) -> None:
    async def work(producer: AsyncProducer) -> None:
        ids = [f"job-{number}" for number in range(MANY)]
        waits = [asyncio.create_task(producer.handle(each).get(timeout=90)) for each in ids]
        await until(lambda: listeners(valkey, ids[-1]), "all subscriptions")
        valkey.freeze()
        ended = asyncio.create_task(producer.handle("job-1").view())
        ticks = 0
        while not ended.done():
            ticks += 1
            await asyncio.sleep(0.005)
        assert ticks > 20
        assert not any(wait.done() for wait in waits)
        valkey.thaw()
        for each in ids:
            publish(valkey, job_view(each, *STORY))
        assert len(await asyncio.gather(*waits)) == MANY
        with pytest.raises(redis.TimeoutError):
            await ended

    run(valkey, work, timeout_s=1.0)
