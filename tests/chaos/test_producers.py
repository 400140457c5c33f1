"""The callers at the doors: they repeat a call until it is answered, and after that only what a wipe can have taken."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from schemas.jobs import JobView, State
from tasks.pulse import Pulse
from tests.chaos.doors import Refused, Unanswered, id_of, opened
from tests.chaos.orders import BIG, CELERY, DOORS, DROPIN, NATIVE, PRODUCER, XADD, Order
from tests.chaos.producers import Producers
from tests.support.raw import RawServer, answer, read_request, reset
from tests.support.valkey import valkey_server
from tests.support.waiting import wait_until
from workers.probes import free_port

PROMPT_WORD = "plain"


@dataclass(frozen=True)
class Place:
    redis_url: str
    gateway_url: str
    keep_s: int = 60
    hooks_url: str = "http://127.0.0.1:1"
    keys: dict[str, str] = field(default_factory=lambda: {BIG: "rw_key"})


def ordered(door: str, numbers: list[int]) -> list[Order]:
    batch = numbers[0] if len(numbers) > 1 else None
    return [Order(n, PROMPT_WORD, 0, 0, None, twice=False, door=door, batch=batch) for n in numbers]


def nowhere(scheme: str) -> str:
    return f"{scheme}://127.0.0.1:{free_port()}"


@pytest.mark.parametrize("door", DOORS)
def test_a_door_where_nobody_is_gives_no_answer(door: str) -> None:
    with closing(opened(door, Place(nowhere("redis") + "/0", nowhere("http")))) as client, pytest.raises(Unanswered):
        client.submit(ordered(door, [1]))


def told_late(orders: list[Order], seen: list[set[str]]) -> Callable[[socket.socket, Any], None]:
    """A gateway that gives no clear answer four times, then takes what it is asked for; notes the keys of each call."""
    jobs = [{"id": id_of(order)} for order in orders]
    taken = answer({"jobs": jobs} if len(orders) > 1 else jobs[0], "202 ACCEPTED", "Connection: close\r\n")
    unclear = [None, answer({}, "503 SERVICE UNAVAILABLE"), answer({}, "429 TOO MANY"), taken[:-5]]

    def handle(connection: socket.socket, server: Any) -> None:
        if (asked := read_request(connection)) is None:
            return
        head, body = asked
        server.requests += 1
        named = [line.partition(b": ")[2].decode() for line in head.split(b"\r\n") if line.startswith(b"Idempotency")]
        seen.append({*named, *(job["idempotency_key"] for job in json.loads(body).get("jobs", ()))})
        said = unclear.pop(0) if unclear else taken
        if said is None:
            reset(connection)
        else:
            connection.sendall(said)

    return handle


@pytest.mark.parametrize(("door", "numbers"), [(NATIVE, [1]), (NATIVE, [1, 2, 3]), (DROPIN, [1])])
def test_whoever_gets_no_clear_answer_repeats_the_call_with_its_keys_until_there_is_one(
    door: str, numbers: list[int]
) -> None:
    orders = ordered(door, numbers)
    seen: list[set[str]] = []
    with RawServer(told_late(orders, seen)) as gateway:
        # Though Redis is wiped all the time: what was answered is committed.
        producers = Producers(Place(nowhere("redis") + "/0", gateway.url), orders, lambda: gateway.requests)
        producers.start()
        try:
            wait_until(lambda: producers.done, what="an answer")
        finally:
            producers.stop()
    assert seen == [{order.mark for order in orders}] * 5
    assert producers.unconfirmed == 4
    assert [one.ids for one in producers.submitted] == [{id_of(order)} for order in orders]
    assert all(one.confirmed_at is not None for one in producers.submitted)


def test_what_was_never_answered_is_not_confirmed() -> None:
    orders = ordered(NATIVE, [1])
    producers = Producers(Place(nowhere("redis") + "/0", nowhere("http")), orders, lambda: 0)
    producers.start()
    wait_until(lambda: producers.unconfirmed, what="a call without an answer")
    producers.stop()
    (one,) = producers.submitted
    assert (one.job_id, one.confirmed_at) == (id_of(orders[0]), None)


def test_a_request_that_is_refused_ends_the_run_and_is_not_quoted() -> None:
    def refuse(connection: socket.socket, _server: Any) -> None:
        read_request(connection)
        connection.sendall(answer({"code": "request_invalid", "detail": PROMPT_WORD}, "422 UNPROCESSABLE"))

    with RawServer(refuse) as gateway:
        producers = Producers(Place(nowhere("redis") + "/0", gateway.url), ordered(NATIVE, [1]), lambda: 0)
        producers.start()
        with pytest.raises(Refused, match=r"^POST /v1/jobs was answered 422 request_invalid$"):
            wait_until(lambda: producers.done, what="the refusal")
        producers.stop()


@pytest.mark.parametrize("door", [PRODUCER, XADD, CELERY])
def test_what_a_wipe_can_have_taken_is_submitted_again_until_it_is_seen_accepted(door: str, tmp_path: Path) -> None:
    (order,) = ordered(door, [1])
    wiped = threading.Event()
    with valkey_server(tmp_path) as server, closing(Pulse(server.url)) as pulse:
        producers = Producers(Place(server.url, nowhere("http")), [order], lambda: int(wiped.is_set()))
        producers.start()
        try:
            wait_until(lambda: stands_in(server.client), what="the request")
            wait_until(lambda: producers.submitted[0].confirmed_at, what="its caller being told")
            server.client.flushall()
            wiped.set()
            wait_until(lambda: stands_in(server.client), what="the request once more")
            assert not producers.done
            pulse.views.publish([JobView(job_id=id_of(order), state=State.QUEUED)])
            wait_until(lambda: producers.done, what="the view being seen")
        finally:
            producers.stop()
    assert producers.submitted[0].submissions == 2


def stands_in(client: redis.Redis) -> bool:
    return bool(client.exists("reelworks:requests", "reelworks"))
