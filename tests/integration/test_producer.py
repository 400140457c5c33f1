"""Submitting: what stands in Redis afterwards, that a key is one job, and what is refused stores nothing."""

from __future__ import annotations

import hashlib
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from schemas import keys
from schemas import producer as producer_module
from schemas.errors import IdempotencyConflict, NotSubmitted, RequestInvalid
from schemas.producer import BATCH, Producer
from schemas.requests import parse_request
from tests.support.pictures import as_data_url, picture
from tests.support.requests import raw
from tests.support.samples import sample
from tests.support.valkey import Valkey
from tests.support.workerside import entries

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
    first, last = picture(), picture(kind="PNG")
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
    producer.submit(**raw(first_frame_image=text.replace("image/jpeg", "image/png"), idempotency_key="k"))
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


# --- a Redis that forgets or refuses ---------------------------------------------------------------------------------


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


def test_a_picture_that_redis_has_no_memory_for_is_surely_not_submitted(valkey: Valkey, producer: Producer) -> None:
    valkey.client.config_set("maxmemory", 1)
    try:
        with pytest.raises(NotSubmitted, match="out of memory") as caught:
            producer.submit(**raw(first_frame_image=as_data_url(picture())))
    finally:
        valkey.client.config_set("maxmemory", 0)
    assert not caught.value.unknown
    assert valkey.client.dbsize() == 0


def test_a_redis_that_refuses_is_not_quoted(valkey: Valkey, producer: Producer) -> None:
    valkey.client.set(keys.REQUESTS, "no stream")
    with pytest.raises(NotSubmitted, match="refused") as caught:
        producer.submit(**raw(prompt="canary", idempotency_key="k"))
    assert "canary" not in str(caught.value)
    assert not valkey.client.exists(keys.idempotency("default", "k"))
