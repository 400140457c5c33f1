"""What a producer hears of a Redis in trouble: stored, surely not stored, or unknown; and that repeating is safe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from schemas import keys, producer
from schemas.errors import NotSubmitted
from schemas.producer import Producer
from tests.support.proxy import PASS, Fault, FaultProxy
from tests.support.requests import raw
from tests.support.valkey import Valkey, valkey_server
from tests.support.waiting import wait_until
from workers.probes import free_port

TIMEOUT_S = 0.5
"""Of the producer that meets a Redis which does not answer. Every other one has the usual time-out, so that no pause of
the machine is taken for trouble."""
LONGEST_S = 10.0
"""Far above the few time-outs that a submission may take, far below a client that repeats by itself."""
REQUEST = raw()


@dataclass(frozen=True)
class Way:
    """The producers' way to Redis, through the proxy."""

    valkey: Valkey
    proxy: FaultProxy
    producer: Producer
    hasty: Producer

    def submit(self, key: str, by: Producer | None = None) -> str:
        return (by or self.producer).submit(**REQUEST, prompt="canary", idempotency_key=key).id

    def submit_hastily(self, key: str) -> str:
        """Repeated until the machine lets it be done within the short time-out."""

        def submitted() -> str | None:
            try:
                return self.submit(key, self.hasty)
            except NotSubmitted:
                return None

        return wait_until(submitted, what="a submission")

    def stored(self, job_id: str | None = None) -> int:
        entries: Any = self.valkey.client.xrange(keys.REQUESTS)
        return len([1 for _, fields in entries if job_id is None or fields[b"job"].decode() == job_id])


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Way]:
    with (
        valkey_server(tmp_path) as valkey,
        FaultProxy(valkey.port) as proxy,
        Producer(proxy.redis_url) as producer,
        Producer(proxy.redis_url, timeout_s=TIMEOUT_S) as hasty,
    ):
        ours = Way(valkey, proxy, producer, hasty)
        # The script is known to Redis, and of each producer a connection stands.
        assert ours.submit("before") == ours.submit_hastily("before")
        yield ours


def fault(fault: Fault, way: Way) -> None:
    way.proxy.fault = fault


def freeze(way: Way) -> None:
    way.valkey.freeze()


def fill(way: Way) -> None:
    way.valkey.client.config_set("maxmemory", 1)


def follow_a_dead_master(way: Way) -> None:
    way.valkey.client.replicaof("127.0.0.1", str(free_port()))


def want_replicas(way: Way) -> None:
    way.valkey.client.config_set("min-replicas-to-write", 1)


def load_for_long(way: Way) -> None:
    """Restart on data that takes a while to read; between a thousand commands the server answers that it is loading."""
    pipe = way.valkey.client.pipeline()
    for number in range(40_000):
        pipe.set(f"filler-{number}", number)
    pipe.execute()
    way.valkey.stop()
    way.valkey.start("--key-load-delay", "200", loading=True)


def mend(way: Way) -> None:
    way.valkey.thaw()
    way.proxy.fault = PASS
    if way.valkey.client.info("persistence")["loading"]:
        way.valkey.stop()
        way.valkey.start()
    way.valkey.client.replicaof("NO", "ONE")
    way.valkey.client.config_set("min-replicas-to-write", 0)
    way.valkey.client.config_set("maxmemory", 0)


TROUBLES: dict[str, tuple[Callable[[Way], None], bool, int]] = {
    # name: (what is done, whether it leaves a producer in doubt that has not heard from Redis lately, and entries of
    # the job after the failure)
    "refused": (partial(fault, Fault(refuse=True)), False, 0),
    "black hole": (partial(fault, Fault(swallow=True)), False, 0),
    "slower than the time-out": (partial(fault, Fault(latency_s=2 * TIMEOUT_S)), False, 0),
    "cut before the command": (partial(fault, Fault(cut_on=b"EVALSHA")), True, 0),
    "cut within the command": (partial(fault, Fault(cut_after_bytes=100)), True, 0),
    "cut after the command": (partial(fault, Fault(cut_on=b"EVALSHA", forwarded=True)), True, 1),
    "stopped": (freeze, False, 0),
    "out of memory": (fill, False, 0),
    "read-only": (follow_a_dead_master, False, 0),
    "without its replicas": (want_replicas, False, 0),
    "loading": (load_for_long, False, 0),
}


SILENT = {"black hole", "slower than the time-out", "stopped"}
"""Without a sign of life asked for before, there is no telling what became of a command."""


@pytest.mark.parametrize("name", TROUBLES)
def test_a_submission_in_trouble_says_what_became_of_it_and_can_be_repeated(
    name: str, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "QUIET_S", 0.0)
    begin, unknown, stored = TROUBLES[name]
    begin(way)
    begun = time.monotonic()
    with pytest.raises(NotSubmitted) as caught:
        way.submit("k", way.hasty if name in SILENT else None)
    assert time.monotonic() - begun < LONGEST_S
    assert caught.value.unknown is unknown
    assert way.proxy.cuts == name.startswith("cut"), "it was asked again"
    assert "canary" not in str(caught.value)

    mend(way)
    assert way.stored() == 1 + stored
    job_id = way.submit("k")
    assert way.submit_hastily("k") == job_id
    assert way.stored(job_id) == 1


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_in_the_middle_of_many_submissions_is_told_as_truly(
    name: str, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "QUIET_S", 3600.0)
    begin, unknown, _ = TROUBLES[name]
    begin(way)
    with pytest.raises(NotSubmitted) as caught:
        way.submit("k", way.hasty if name in SILENT else None)
    assert caught.value.unknown is (unknown or name in SILENT)

    mend(way)
    if not caught.value.unknown:
        assert way.stored() == 1
    job_id = way.submit("k")
    assert way.submit_hastily("k") == job_id
    assert way.stored(job_id) == 1


def test_a_slow_redis_stores_once_and_says_so(way: Way) -> None:
    way.proxy.fault = Fault(latency_s=TIMEOUT_S / 10)
    assert way.stored(way.submit("k")) == 1


def test_a_redis_that_stalls_between_two_steps_leaves_the_producer_in_doubt(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sign of life is given, and the command not answered; it may be executed later."""
    monkeypatch.setattr(producer, "QUIET_S", 0.0)
    way.valkey.client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
    with pytest.raises(NotSubmitted) as caught:
        way.submit("k")
    assert caught.value.unknown
    way.valkey.client.execute_command("CLIENT", "UNPAUSE")
    assert way.stored(way.submit("k")) == 1


def test_without_a_key_a_producer_in_doubt_is_told_which_job_to_look_for(way: Way) -> None:
    way.valkey.client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
    with pytest.raises(NotSubmitted, match="without an idempotency key") as caught:
        way.producer.submit(**REQUEST)
    way.valkey.client.execute_command("CLIENT", "UNPAUSE")
    (job_id,) = caught.value.job_ids
    assert caught.value.unknown
    assert job_id in str(caught.value)


@pytest.mark.parametrize("forwarded", [False, True], ids=["lost on its way", "answer lost"])
def test_many_that_break_off_say_what_is_stored_and_what_is_in_doubt(way: Way, forwarded: bool) -> None:
    """Each of the three batches has a word of its own in its requests; the second is where the connection is cut."""
    batches = (number // producer.BATCH for number in range(2 * producer.BATCH + 1))
    requests = [{**REQUEST, "metadata": {"batch": f"batch-{batch}"}} for batch in batches]
    way.proxy.fault = Fault(cut_on=b"batch-1", forwarded=forwarded)
    with pytest.raises(NotSubmitted) as caught:
        way.producer.submit_many(requests)
    error = caught.value
    assert error.unknown
    assert len(error.submitted) == len(error.job_ids) == producer.BATCH
    assert all(way.stored(job_id) == 1 for job_id in error.submitted)
    wait_until(lambda: way.stored() == 1 + producer.BATCH * (2 if forwarded else 1), what="the second batch")
    assert {way.stored(job_id) for job_id in error.job_ids} == {1 if forwarded else 0}
