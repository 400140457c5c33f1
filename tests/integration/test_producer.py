from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from schemas import handle as handle_module
from schemas import keys
from schemas import producer as producer_module
from schemas.errors import IdempotencyConflict, JobCancelled, JobFailed, NotSubmitted, RequestInvalid, WaitTimeout
from schemas.handle import Handle
from schemas.jobs import JobEvent, JobView, State
from schemas.producer import BATCH, Producer
from schemas.records import encode_record
from schemas.requests import parse_request
from tests.support.proxy import Fault, FaultProxy
from tests.support.samples import sample
from tests.support.valkey import Valkey, valkey_server
from tests.support.waiting import wait_until
from workers.probes import free_port

MODEL = "minimax_hailuo_02_i2v"
URL = "https://pictures.example/cat.jpg"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey_server(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
def valkey(server: Valkey) -> Valkey:
    """The server, empty. It is this module's own."""
    server.client.flushall()
    return server


@pytest.fixture
def producer(valkey: Valkey) -> Iterator[Producer]:
    with Producer(valkey.url) as ours:
        yield ours


def raw(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "first_frame_image": URL, **fields}


def picture(color: str = "red") -> bytes:
    out = io.BytesIO()
    Pillow.new("RGB", (400, 320), color).save(out, "PNG")
    return out.getvalue()


def as_data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def entries(valkey: Valkey) -> list[dict[str, str]]:
    found: Any = valkey.client.xrange(keys.REQUESTS)
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in found]


# --- submit ---------------------------------------------------------------------------------------------------------


def test_a_submission_is_one_entry_of_the_stream(valkey: Valkey, producer: Producer) -> None:
    handle = producer.submit(**raw(prompt="a cat", duration=10))
    [entry] = entries(valkey)
    assert set(entry) == {"v", "job", "request"}
    assert (entry["v"], entry["job"]) == ("1", handle.id)
    assert str(uuid.UUID(handle.id)) == handle.id
    request = parse_request(json.loads(entry["request"]), stored_inputs=True)
    assert request == parse_request(raw(prompt="a cat", duration=10))


def test_what_is_part_of_a_trace_says_so_in_the_form_of_the_sample(valkey: Valkey, producer: Producer) -> None:
    form = sample("stream_entry_traced")
    producer.submit_many([json.loads(form["request"])] * 2, traceparent=form["traceparent"])
    assert [{**entry, "job": form["job"]} for entry in entries(valkey)] == [form] * 2


def test_pictures_are_stored_as_bytes_under_their_digest_and_expire(valkey: Valkey, producer: Producer) -> None:
    first, last = picture("red"), picture("blue")
    producer.submit(**raw(first_frame_image=as_data_url(first), last_frame_image=as_data_url(last)))
    [entry] = entries(valkey)
    assert "base64" not in entry["request"]
    request = parse_request(json.loads(entry["request"]), stored_inputs=True)
    for image, data in ((request.first_frame_image, first), (request.last_frame_image, last)):
        assert getattr(image, "sha256", None) == hashlib.sha256(data).hexdigest()
        key = keys.input_blob(hashlib.sha256(data).hexdigest())
        assert valkey.client.get(key) == data
        assert 0 < valkey.client.ttl(key) <= 7 * 24 * 3600


def test_a_picture_that_is_there_already_lives_on_as_if_it_were_new(valkey: Valkey, producer: Producer) -> None:
    data = picture()
    key = keys.input_blob(hashlib.sha256(data).hexdigest())
    producer.submit(**raw(first_frame_image=as_data_url(data)))
    valkey.client.expire(key, 5)
    before = valkey.client.info("commandstats")["cmdstat_set"]["calls"]
    producer.submit(**raw(first_frame_image=as_data_url(data)))
    assert valkey.client.ttl(key) > 5
    assert valkey.client.info("commandstats")["cmdstat_set"]["calls"] == before


def test_an_invalid_request_stores_nothing(valkey: Valkey, producer: Producer) -> None:
    with pytest.raises(RequestInvalid):
        producer.submit(**raw(first_frame_image=as_data_url(picture()), duration=7))
    assert valkey.client.dbsize() == 0


def test_a_picture_above_the_cap_of_the_store_is_refused(valkey: Valkey) -> None:
    with Producer(valkey.url, input_max_bytes=10) as capped, pytest.raises(RequestInvalid) as caught:
        capped.submit(**raw(last_frame_image=as_data_url(picture())))
    assert [(p.field, p.code) for p in caught.value.problems] == [("last_frame_image", "image_too_large_to_store")]
    assert valkey.client.dbsize() == 0


def asked(valkey: Valkey) -> dict[str, int]:
    """How often each command was sent since the statistics were reset."""
    return {name.removeprefix("cmdstat_"): each["calls"] for name, each in valkey.client.info("commandstats").items()}


def test_a_row_of_submissions_asks_redis_once_each(
    valkey: Valkey, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_module, "QUIET_S", 3600.0)
    producer.submit(**raw())
    valkey.client.config_resetstat()
    for number in range(3):
        producer.submit(**raw(idempotency_key=f"k{number}"))
    producer.submit_many([raw()] * BATCH)
    once_each = asked(valkey)
    assert (once_each["evalsha"], once_each.get("ping", 0)) == (4, 0)
    monkeypatch.setattr(producer_module, "QUIET_S", 0.0)
    producer.submit(**raw())
    assert asked(valkey)["ping"] == 1


def test_warnings_stand_on_the_handle(producer: Producer) -> None:
    handle = producer.submit(**raw(prompt="[rise, shake, follow, static]"))
    assert [warning.code for warning in handle.warnings] == ["camera_too_many_combined"]


# --- idempotency ----------------------------------------------------------------------------------------------------


def test_the_same_key_and_request_is_the_same_job(valkey: Valkey, producer: Producer) -> None:
    first = producer.submit(**raw(idempotency_key="order-1"))
    second = producer.submit(**raw(idempotency_key="order-1", resolution="768p"))
    assert first.id == second.id
    assert len(entries(valkey)) == 1


def test_the_same_picture_under_another_media_type_is_the_same_request(valkey: Valkey, producer: Producer) -> None:
    text = as_data_url(picture())
    producer.submit(**raw(first_frame_image=text, idempotency_key="k"))
    producer.submit(**raw(first_frame_image=text.replace("image/png", "image/jpeg"), idempotency_key="k"))
    assert len(entries(valkey)) == 1


def test_the_same_key_with_another_request_is_a_conflict(valkey: Valkey, producer: Producer) -> None:
    first = producer.submit(**raw(idempotency_key="order-1"))
    with pytest.raises(IdempotencyConflict) as caught:
        producer.submit(**raw(idempotency_key="order-1", duration=10))
    assert caught.value.job_id == first.id
    assert len(entries(valkey)) == 1


def test_the_same_key_of_another_tenant_is_another_job(valkey: Valkey, producer: Producer) -> None:
    jobs = {producer.submit(**raw(idempotency_key="k", tenant=tenant)).id for tenant in ("a", "b")}
    assert len(jobs) == len(entries(valkey)) == 2


def test_a_key_is_the_same_job_even_when_redis_was_wiped(valkey: Valkey, producer: Producer) -> None:
    first = producer.submit(**raw(idempotency_key="order-1"))
    valkey.client.flushall()
    assert producer.submit(**raw(idempotency_key="order-1")).id == first.id


def test_the_job_id_of_a_key_stays_the_same_across_releases(producer: Producer) -> None:
    assert producer.submit(**raw(idempotency_key="order-1")).id == "5aab017e-7858-5fff-bca2-068f16a4bf90"


def test_the_record_of_a_key_expires(valkey: Valkey) -> None:
    with Producer(valkey.url, idempotency_ttl_s=100) as brief:
        brief.submit(**raw(idempotency_key="k"))
    assert 0 < valkey.client.ttl(keys.idempotency("default", "k")) <= 100


def test_many_at_once_with_one_key_are_one_job(valkey: Valkey, producer: Producer) -> None:
    with ThreadPoolExecutor(8) as pool:
        handles = list(pool.map(lambda _: producer.submit(**raw(idempotency_key="k")), range(40)))
    assert len({handle.id for handle in handles}) == 1
    assert len(entries(valkey)) == 1


def test_many_at_once_with_one_key_and_other_requests_leave_one_winner(valkey: Valkey, producer: Producer) -> None:
    def attempt(number: int) -> int:
        try:
            producer.submit(**raw(idempotency_key="k", priority=number))
        except IdempotencyConflict:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(40))) == 1
    assert len(entries(valkey)) == 1


# --- submit_many ----------------------------------------------------------------------------------------------------


def test_many_are_submitted_in_order(valkey: Valkey, producer: Producer) -> None:
    count = 2 * BATCH + 7
    requests = (
        raw(priority=n % 100, metadata={"n": n}, **({"idempotency_key": f"k{n}"} if n % 2 else {}))
        for n in range(count)
    )
    handles = producer.submit_many(requests)
    found = entries(valkey)
    assert [handle.id for handle in handles] == [entry["job"] for entry in found]
    assert [json.loads(entry["request"])["metadata"]["n"] for entry in found] == list(range(count))


def test_none_of_many_is_nothing(valkey: Valkey, producer: Producer) -> None:
    assert producer.submit_many([]) == []
    assert valkey.client.dbsize() == 0


def test_one_invalid_of_many_refuses_all_and_is_named(valkey: Valkey, producer: Producer) -> None:
    with pytest.raises(RequestInvalid) as caught:
        producer.submit_many([raw(), raw(duration=7), raw(metadata={"a": float("nan")})])
    assert [problem.field for problem in caught.value.problems] == ["1.duration", "2.metadata.a"]
    assert valkey.client.dbsize() == 0


def test_a_key_repeated_among_many_is_one_job(valkey: Valkey, producer: Producer) -> None:
    a, b, c = producer.submit_many([raw(idempotency_key="k"), raw(), raw(idempotency_key="k")])
    assert a.id == c.id != b.id
    assert len(entries(valkey)) == 2


def test_a_conflict_among_many_submits_none(valkey: Valkey, producer: Producer) -> None:
    with pytest.raises(IdempotencyConflict):
        producer.submit_many([raw(), raw(idempotency_key="k"), raw(idempotency_key="k", duration=10)])
    assert entries(valkey) == []
    known = producer.submit(**raw(idempotency_key="known"))
    with pytest.raises(IdempotencyConflict) as caught:
        producer.submit_many([raw(), raw(idempotency_key="new"), raw(idempotency_key="known", duration=10)])
    assert caught.value.job_id == known.id
    assert len(entries(valkey)) == 1
    assert not valkey.client.exists(keys.idempotency("default", "new"))


def test_a_conflict_in_a_later_batch_says_what_stands(valkey: Valkey, producer: Producer) -> None:
    producer.submit(**raw(idempotency_key="known"))
    first = [raw(idempotency_key="new"), *[raw()] * (BATCH - 1)]
    with pytest.raises(IdempotencyConflict) as caught:
        producer.submit_many([*first, raw(idempotency_key="new"), raw(idempotency_key="known", duration=10), raw()])
    submitted = caught.value.submitted
    assert len(submitted) == BATCH + 1  # the repetition as well
    assert submitted[0] == submitted[BATCH] == producer.submit(**raw(idempotency_key="new")).id
    assert [entry["job"] for entry in entries(valkey)][1:] == list(submitted[:BATCH])


def test_repeating_many_with_keys_adds_only_what_is_missing(valkey: Valkey, producer: Producer) -> None:
    requests = [raw(idempotency_key=f"k{n}") for n in range(5)]
    producer.submit_many(requests[:3])
    producer.submit_many(requests)
    assert len(entries(valkey)) == 5


# --- estimate -------------------------------------------------------------------------------------------------------


def test_an_estimate_is_the_list_price_and_submits_nothing(valkey: Valkey, producer: Producer) -> None:
    assert producer.estimate(**raw(resolution="512P", first_frame_image=as_data_url(picture()))) == Decimal("0.10")
    assert producer.estimate(**raw(duration=10)) == Decimal("0.56")
    assert valkey.client.dbsize() == 0


def test_an_estimate_refuses_what_a_submission_would_refuse(producer: Producer) -> None:
    with pytest.raises(RequestInvalid) as caught:
        producer.estimate(**raw(duration=7))
    assert [problem.field for problem in caught.value.problems] == ["duration"]


# --- Redis in trouble -----------------------------------------------------------------------------------------------


def test_a_redis_that_is_away_is_said_at_once_and_nothing_is_in_doubt() -> None:
    with Producer(f"redis://127.0.0.1:{free_port()}/0") as lost, pytest.raises(NotSubmitted) as caught:
        lost.submit(**raw())
    assert not caught.value.unknown


def test_a_redis_that_is_silent_is_given_up(tmp_path: Path) -> None:
    with valkey_server(tmp_path) as silent, Producer(silent.url) as producer:
        producer.submit(**raw())
        silent.client.execute_command("CLIENT", "PAUSE", "60000", "ALL")
        with pytest.raises(NotSubmitted) as caught:
            producer.submit(**raw(prompt="canary"))
    assert "canary" not in str(caught.value)


def test_a_lost_answer_is_in_doubt_and_is_not_repeated(valkey: Valkey) -> None:
    with Producer(valkey.url) as warm:  # so that the script is known, and the first EVALSHA is executed
        warm.submit(**raw())
    with (
        FaultProxy(valkey.port, Fault(cut_on=b"EVALSHA", forwarded=True)) as proxy,
        Producer(proxy.redis_url) as producer,
        pytest.raises(NotSubmitted) as caught,
    ):
        producer.submit(**raw(idempotency_key="k"))
    assert caught.value.unknown
    assert proxy.cuts == 1
    assert len(entries(valkey)) == 2
    with Producer(valkey.url) as producer:
        again = producer.submit(**raw(idempotency_key="k"))
    assert [entry["job"] for entry in entries(valkey)].count(again.id) == 1
    assert len(entries(valkey)) == 2


def test_a_connection_that_redis_closed_meanwhile_is_replaced(valkey: Valkey, producer: Producer) -> None:
    producer.submit(**raw())
    valkey.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    producer.submit(**raw())
    assert len(entries(valkey)) == 2


def test_scripts_that_redis_forgot_are_given_again(valkey: Valkey, producer: Producer) -> None:
    producer.submit(**raw())
    valkey.client.script_flush()
    producer.submit(**raw())
    assert len(entries(valkey)) == 2


def test_a_redis_without_memory_stores_nothing_and_says_so(valkey: Valkey, producer: Producer) -> None:
    valkey.client.config_set("maxmemory", 1)
    try:
        for request in (raw(idempotency_key="k"), raw(first_frame_image=as_data_url(picture()))):
            with pytest.raises(NotSubmitted, match="out of memory") as caught:
                producer.submit(**request)
            assert not caught.value.unknown
    finally:
        valkey.client.config_set("maxmemory", 0)
    assert valkey.client.dbsize() == 0


def test_a_redis_that_refuses_is_not_quoted(valkey: Valkey, producer: Producer) -> None:
    valkey.client.set(keys.REQUESTS, "no stream")
    with pytest.raises(NotSubmitted, match="refused") as caught:
        producer.submit(**raw(prompt="canary", idempotency_key="k"))
    assert "canary" not in str(caught.value)
    assert not valkey.client.exists(keys.idempotency("default", "k"))


# --- handle ---------------------------------------------------------------------------------------------------------


def job_view(job_id: str, *states: State, **fields: Any) -> JobView:
    events = tuple(JobEvent(n, f"to_{s.value}", s, START + timedelta(seconds=n)) for n, s in enumerate(states))
    return JobView(job_id=job_id, state=states[-1], events=events, model=MODEL, **fields)


def publish(valkey: Valkey, view: JobView, *, tell: bool = True) -> None:
    record = encode_record(view)
    valkey.client.set(keys.view(view.job_id), record)
    if tell:
        valkey.client.publish(keys.view(view.job_id), record)


def someone_listens(valkey: Valkey, job_id: str) -> bool:
    found: Any = valkey.client.pubsub_numsub(keys.view(job_id))
    return bool(found[0][1])


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
    wait_until(lambda: not someone_listens(valkey, handle.id))


STORY = (State.QUEUED, State.ADMITTED, State.CREATING, State.GENERATING, State.DOWNLOADING, State.COMPLETED)


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
    wait_until(lambda: someone_listens(valkey, "job-1"))
    for count in range(2, len(STORY) + 1):
        publish(valkey, job_view("job-1", *STORY[:count]))
        publish(valkey, job_view("job-1", *STORY[:count]))
    thread.join(30)
    assert [event.state for event in seen] == list(STORY)
    assert [event.seq for event in seen] == list(range(len(STORY)))


def test_a_view_that_was_not_published_is_found_by_reading_again(
    valkey: Valkey, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handle_module, "REREAD_S", 0.05)
    seen: list[JobEvent] = []
    thread = follow(producer.handle("job-1"), seen)
    wait_until(lambda: someone_listens(valkey, "job-1"))
    publish(valkey, job_view("job-1", *STORY), tell=False)
    thread.join(30)
    assert [event.state for event in seen] == list(STORY)


def test_the_record_is_read_once_the_subscription_stands(
    valkey: Valkey, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is published between the first look and the subscription is told to nobody, and must not wait long."""
    monkeypatch.setattr(handle_module, "REREAD_S", 3600.0)
    first_look = threading.Event()
    read = Handle.view

    def look_and_miss_what_follows(self: Handle) -> JobView | None:
        found = read(self)
        if not first_look.is_set():
            first_look.set()
            publish(valkey, job_view("job-1", *STORY[:3]), tell=False)
        return found

    monkeypatch.setattr(Handle, "view", look_and_miss_what_follows)
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
    wait_until(lambda: someone_listens(valkey, "job-1"))
    valkey.client.publish(keys.view("job-1"), b"\xff{not a record")
    publish(valkey, job_view("job-1", *STORY))
    thread.join(30)
    assert len(seen) == len(STORY)


def test_a_wait_outlives_a_restart_of_redis(tmp_path: Path) -> None:
    with valkey_server(tmp_path) as restarted, Producer(restarted.url) as producer:
        seen: list[JobEvent] = []
        thread = follow(producer.handle("job-1"), seen)
        wait_until(lambda: someone_listens(restarted, "job-1"))
        restarted.stop()
        restarted.start()
        publish(restarted, job_view("job-1", *STORY))
        thread.join(30)
        assert [event.state for event in seen] == list(STORY)


def test_a_wait_ends_when_redis_stays_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handle_module, "OUTAGE_S", 0.0)
    with valkey_server(tmp_path) as gone, Producer(gone.url) as producer:
        gone.stop()
        with pytest.raises(handle_module.redis.ConnectionError):
            producer.handle("job-1").get(timeout=60)
        monkeypatch.setattr(handle_module, "OUTAGE_S", 60.0)
        with pytest.raises(WaitTimeout):
            producer.handle("job-1").get(timeout=0.3)
