"""A job as its producer follows it: what is read of it, each event once, and waits that outlive what befalls Redis."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import redis

from schemas import keys, waiting
from schemas.errors import JobCancelled, JobFailed, WaitTimeout
from schemas.handle import Handle
from schemas.jobs import JobEvent, JobView, State
from schemas.producer import Producer
from tests.support.requests import MODEL, raw
from tests.support.valkey import Valkey, valkey_server
from tests.support.waiting import wait_until
from tests.support.workerside import START, STORY, entries, job_view, listeners, publish


def test_a_job_that_is_not_accepted_has_no_state(producer: Producer) -> None:
    handle = producer.submit(**raw())
    assert handle.state is None
    assert not handle.done
    assert handle.view() is None
    looked = {"progress": None, "polls": None, "next_look_at": None}
    waiting = {"queue_position": None, "estimated_start_at": None}
    assert handle.info == {"job_id": handle.id, "state": None, **looked, **waiting}


def test_state_and_info_are_the_view_and_the_last_look(valkey: Valkey, producer: Producer) -> None:
    handle = producer.handle("job-1")
    view = job_view("job-1", State.QUEUED, State.GENERATING, metadata={"order": 7})
    publish(valkey, view)
    due = START + timedelta(hours=1)
    valkey.client.hset(keys.LOOKS, "job-1", '[4, 0.5, "task", "key"]')
    valkey.client.zadd(keys.TIMETABLE, {"job-1": due.timestamp()})
    assert (handle.state, handle.done, handle.view()) == (State.GENERATING, False, view)
    info = handle.info
    assert (info["state"], info["metadata"], info["model"]) == (State.GENERATING, {"order": 7}, MODEL)
    assert (info["progress"], info["polls"], info["next_look_at"]) == (0.5, 4, due)


@pytest.mark.parametrize("noted", ["", "soon", "[]", "{}", '["many", "soon"]', '[null, {"half": 1}]'])
def test_an_unreadable_record_is_a_job_not_accepted(valkey: Valkey, producer: Producer, noted: str) -> None:
    valkey.client.set(keys.view("job-1"), "{}")
    valkey.client.hset(keys.LOOKS, "job-1", noted)
    info = producer.handle("job-1").info
    assert (info["progress"], info["polls"], info["next_look_at"]) == (None, None, None)
    assert producer.handle("job-1").state is None


def test_waiting_returns_the_completed_job(valkey: Valkey, producer: Producer) -> None:
    view = job_view("job-1", State.QUEUED, State.COMPLETED, charged_usd=Decimal("0.28"))
    publish(valkey, view)
    assert producer.handle("job-1").get(timeout=10) == view
    assert producer.handle("job-1").get(timeout=0) == view


def test_waiting_raises_the_jobs_own_error(valkey: Valkey, producer: Producer) -> None:
    publish(valkey, job_view("job-1", State.FAILED, error_code="010004095", error_message="Internal generation error"))
    with pytest.raises(JobFailed) as caught:
        producer.handle("job-1").get(timeout=10)
    assert (caught.value.job_id, caught.value.code) == ("job-1", "010004095")
    publish(valkey, job_view("job-2", State.CANCELLED))
    with pytest.raises(JobCancelled):
        producer.handle("job-2").get(timeout=10)


def test_a_wait_that_times_out_leaves_the_job_as_it_is(valkey: Valkey, producer: Producer) -> None:
    handle = producer.submit(**raw())
    before = entries(valkey), valkey.client.dbsize()
    with pytest.raises(WaitTimeout):
        handle.get(timeout=0.05)
    with pytest.raises(WaitTimeout):
        list(handle.events(timeout=0.05))
    assert (entries(valkey), valkey.client.dbsize()) == before
    wait_until(lambda: not listeners(valkey, handle.id))


def follow(handle: Handle, seen: list[JobEvent]) -> threading.Thread:
    def run() -> None:
        seen.extend(handle.events(timeout=60))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_events_come_from_the_first_to_the_last_each_once(valkey: Valkey, producer: Producer) -> None:
    publish(valkey, job_view("job-1", *STORY[:2]))
    seen: list[JobEvent] = []
    thread = follow(producer.handle("job-1"), seen)
    wait_until(lambda: listeners(valkey, "job-1"))
    for count in range(2, len(STORY) + 1):
        publish(valkey, job_view("job-1", *STORY[:count]))
        publish(valkey, job_view("job-1", *STORY[:count]))
    thread.join(30)
    assert [event.state for event in seen] == list(STORY)
    assert [event.seq for event in seen] == list(range(len(STORY)))


def test_a_view_that_was_not_published_is_found_by_reading_again(
    valkey: Valkey, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "REREAD_S", 0.05)
    seen: list[JobEvent] = []
    thread = follow(producer.handle("job-1"), seen)
    wait_until(lambda: listeners(valkey, "job-1"))
    publish(valkey, job_view("job-1", *STORY), tell=False)
    thread.join(30)
    assert [event.state for event in seen] == list(STORY)


def test_the_record_is_read_once_the_subscription_stands(
    valkey: Valkey, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is published between the first look and the subscription is told to nobody, and must not wait long."""
    monkeypatch.setattr(waiting, "REREAD_S", 3600.0)
    first_look = threading.Event()
    read = waiting.view_of

    def look_and_miss_what_follows(client: redis.Redis, job_id: str) -> JobView | None:
        found = read(client, job_id)
        if not first_look.is_set():
            first_look.set()
            publish(valkey, job_view(job_id, *STORY[:3]), tell=False)
        return found

    monkeypatch.setattr(waiting, "view_of", look_and_miss_what_follows)
    seen: list[JobEvent] = []
    thread = follow(producer.handle("job-1"), seen)
    try:
        wait_until(lambda: len(seen) == 3, what="the reading of the record")
    finally:
        publish(valkey, job_view("job-1", *STORY))
        thread.join(30)
    assert [event.state for event in seen] == list(STORY)


def test_many_jobs_are_waited_for_at_once(valkey: Valkey, producer: Producer) -> None:
    count = 120
    view = job_view("job-1", *STORY)
    with ThreadPoolExecutor(count) as pool:
        waits = [pool.submit(producer.handle("job-1").get, timeout=60) for _ in range(count)]
        try:
            wait_until(lambda: len(valkey.client.client_list("pubsub")) == count, what="a connection for each wait")
            assert producer.submit(**raw()).state is None
        finally:
            publish(valkey, view)
        assert [wait.result(30) for wait in waits] == [view] * count


def test_what_is_published_by_others_on_the_channel_is_passed_over(valkey: Valkey, producer: Producer) -> None:
    seen: list[JobEvent] = []
    thread = follow(producer.handle("job-1"), seen)
    wait_until(lambda: listeners(valkey, "job-1"))
    valkey.client.publish(keys.view("job-1"), b"\xff{not a record")
    publish(valkey, job_view("job-1", *STORY))
    thread.join(30)
    assert len(seen) == len(STORY)


def test_a_wait_outlives_a_restart_of_redis(tmp_path: Path) -> None:
    with valkey_server(tmp_path) as restarted, Producer(restarted.url) as producer:
        seen: list[JobEvent] = []
        thread = follow(producer.handle("job-1"), seen)
        wait_until(lambda: listeners(restarted, "job-1"))
        restarted.stop()
        restarted.start()
        publish(restarted, job_view("job-1", *STORY))
        thread.join(30)
        assert [event.state for event in seen] == list(STORY)


def test_a_wait_ends_when_redis_stays_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "OUTAGE_S", 0.0)
    with valkey_server(tmp_path) as gone, Producer(gone.url) as producer:
        gone.stop()
        with pytest.raises(redis.ConnectionError):
            producer.handle("job-1").get(timeout=60)
        monkeypatch.setattr(waiting, "OUTAGE_S", 60.0)
        with pytest.raises(WaitTimeout):
            producer.handle("job-1").get(timeout=0.3)
