"""Redis behind sentinels: everybody finds the primary by the address alone, and again after a failover."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from click.testing import CliRunner

from schemas.aio import AsyncProducer
from schemas.errors import NotSubmitted
from schemas.handle import Handle
from schemas.jobs import JobView, State
from schemas.producer import Producer
from schemas.redisclient import async_client, client
from tasks.pulse import Pulse
from tests.support.gate import Gate
from tests.support.sentinels import MASTER, PASSWORD, SENTINEL_PASSWORD, Sentinel, Watched, watched
from tests.support.tls import CA, OTHER_CA, TlsProxy
from tests.support.valkey import Valkey, valkey_server
from tests.support.waiting import wait_until
from tests.support.works import Works, request, simulator
from workers.celeryplace import asking, result_settings
from workers.cli import cli
from workers.stackplan import ROOT

TEXT = {"model": "minimax_hailuo_23_t2v", "prompt": "a lake", "resolution": "768P"}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Where nothing fails over."""
    with watched(tmp_path_factory.mktemp("calm")) as made:
        yield made


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path / "redis", down_after_ms=300, users=True) as made:
        yield made


@pytest.fixture
def works(failing: Watched, tmp_path: Path) -> Iterator[Works]:
    with ExitStack() as stack:
        gate = Gate(stack.enter_context(simulator(tmp_path / "simulator", speed=20)))
        stack.callback(gate.close)
        addresses = {
            "REELWORKS_REDIS_URL": failing.url(),
            "REELWORKS_DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db",
            "REELWORKS_PROVIDER_URL": gate.url,
            "REELWORKS_OUTPUT_PRIVATE": "127.0.0.1",
        }
        own = failing.url("&replicas=1", user="producer")
        made = Works(tmp_path, addresses, tmp_path / "simulator" / "bill.jsonl", redis_url=own)
        stack.callback(made.close)
        made.gate = gate
        yield made


def submitted(producer: Producer, key: str) -> tuple[Handle, int]:
    """The job, and how often its submission was refused before: no call hangs, and none raises anything else."""
    refused = 0

    def tried() -> Handle | None:
        nonlocal refused
        try:
            return producer.submit(**request(), idempotency_key=key)
        except NotSubmitted:
            refused += 1
            return None

    return wait_until(tried, within_s=60, what="a new primary"), refused


async def awaited(url: str, job_ids: list[str]) -> list[JobView]:
    async with AsyncProducer(url) as producer:
        return await asyncio.gather(*(producer.handle(job_id).get(timeout=100) for job_id in job_ids))


@pytest.mark.timeout(240)
def test_jobs_go_on_after_a_failover_and_are_paid_once(works: Works, failing: Watched) -> None:
    workers = works.crew.start()
    told = shown(failing)
    with Producer(failing.url("&replicas=1")) as producer:  # as the verb `submit` does, with the workers' user
        under_way = [producer.submit(**request())]
    under_way += works.submit(3)
    works.wait(under_way, State.GENERATING, State.DOWNLOADING, State.RECORDING, State.COMPLETED)
    with ThreadPoolExecutor(6) as threads:
        waits = [threads.submit(job.get, 100) for job in under_way]
        awaits = threads.submit(asyncio.run, awaited(failing.url(user="producer"), [job.id for job in under_way]))
        failing.primary.kill()
        # Without replicas=1: the only one has to take the primary's place.
        with Producer(failing.url(user="producer")) as producer:
            tried = [submitted(producer, f"order-{number}") for number in range(3)]
        assert sum(refused for _, refused in tried) > 0  # it was asked while there was no primary
        later = [job for job, _ in tried]
        assert {wait.result().state for wait in waits} == {State.COMPLETED}
        assert {view.state for view in awaits.result()} == {State.COMPLETED}
    works.wait(later, State.COMPLETED)
    assert failing.replica.client.role()[0] == b"master"
    assert all(worker.lives for worker in workers)
    works.check_books()
    assert len(works.bill().creates) == 7
    for secret in (PASSWORD, SENTINEL_PASSWORD):
        assert secret not in works.crew.texts()
        assert secret not in told
    assert denials(failing.replica) == []


def shown(place: Watched) -> str:
    """What a worker says of itself to whoever asks, as Flower does."""
    with asking("asked", place.url(), socket_timeout=5) as app:
        inspect = app.control.inspect(timeout=2)
        said: list[Any] = [inspect.stats(), inspect.conf()]
    assert all(said)
    return json.dumps(said)


def denials(server: Valkey) -> list[str]:
    return [f"{entry['username']}: {entry['object']}" for entry in server.client.acl_log()]


class TestReplicas:
    """`replicas=N` in the address: a request is submitted once so many have it."""

    def test_a_request_that_no_replica_has_is_not_submitted_and_neither_is_its_repetition(self, calm: Watched) -> None:
        calm.replica.freeze()
        try:
            for _ in range(2):
                # Over a new connection, which has written nothing that could be waited for.
                with Producer(calm.url("&replicas=1"), timeout_s=1.0) as producer:
                    with pytest.raises(NotSubmitted, match="0 of 1 replicas") as caught:
                        producer.submit(**TEXT, idempotency_key="frozen")
                    assert caught.value.unknown
                    with pytest.raises(NotSubmitted, match=r"0 of 1 replicas.*without an idempotency key"):
                        producer.submit(**TEXT)
        finally:
            calm.replica.thaw()
        wait_until(lambda: calm.primary.client.wait(1, 1000) == 1, what="the replica answering")
        with Producer(calm.url("&replicas=1"), timeout_s=10) as producer:
            job = producer.submit(**TEXT, idempotency_key="frozen")
        entries = calm.replica.client.xrange("reelworks:requests")
        assert [fields[b"job"].decode() for _, fields in entries].count(job.id) == 1

    def test_without_it_a_request_waits_for_none(self, calm: Watched) -> None:
        calm.replica.freeze()
        try:
            with Producer(calm.url(), timeout_s=10) as producer:
                producer.submit(**TEXT)
        finally:
            calm.replica.thaw()


def test_a_connection_whose_answer_is_late_is_not_used_again(calm: Watched) -> None:
    with Producer(calm.url(), timeout_s=0.5) as producer:
        producer.submit(**TEXT)
        calm.primary.freeze()
        try:
            with pytest.raises(NotSubmitted, match="TimeoutError"):
                producer.submit(**TEXT)
        finally:
            calm.primary.thaw()
        pool: Any = producer._redis.connection_pool
        assert [connection._sock for connection in pool._available_connections] == [None]


def test_closed_clients_leave_no_connection_to_a_sentinel(calm: Watched) -> None:
    def connections() -> int:
        return len(calm.sentinel.client.client_list())

    async def asked(client: redis.asyncio.Redis) -> None:
        await client.ping()
        open_then.append(connections())
        await client.aclose()

    before, open_then = connections(), []
    threaded, awaited = client(calm.url(), 1.0), async_client(calm.url(), 1.0)
    threaded.ping()
    open_then.append(connections())
    threaded.close()
    wait_until(lambda: connections() == before, what="the sentinel having nobody")
    asyncio.run(asked(awaited))
    wait_until(lambda: connections() == before, what="the sentinel having nobody")
    assert open_then == [before + 1] * 2


def test_flower_counts_what_waits_in_queues(calm: Watched) -> None:
    calm.primary.client.rpush("shelf", "one", "two")
    assert lengths(calm.url()) == [{"name": "shelf", "messages": 2}]


def lengths(url: str) -> Any:
    """As Flower's page of queues asks for them."""
    code = """
import asyncio, json
from flower.utils.broker import Broker
from workers.flowerapp import app
options = {"broker_options": app.conf.broker_transport_options, "broker_use_ssl": app.conf.broker_use_ssl}
broker = Broker(app.connection().as_uri(include_password=True), **options)
print(json.dumps(asyncio.run(broker.queues(["shelf"]))))
"""
    env = {"REELWORKS_REDIS_URL": url, "REELWORKS_VAR": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_doctor_looks_at_each_sentinel_and_for_replicas(
    calm: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELWORKS_VAR", str(tmp_path))
    monkeypatch.setenv("REELWORKS_PROVIDER_URL", "http://127.0.0.1:9")
    found = doctor(monkeypatch, calm.url())
    assert found["redis"]["verdict"] == "ok"
    assert found["redis replicas"] == {**found["redis replicas"], "verdict": "ok", "found": "1 connected"}
    assert found["redis sentinels"]["verdict"] == "warning"
    assert f"127.0.0.1:{calm.gone} (does not answer: ConnectionError)" == found["redis sentinels"]["found"]
    assert doctor(monkeypatch, calm.url("&replicas=2"))["redis replicas"]["verdict"] == "warning"
    unknown = doctor(monkeypatch, calm.url().replace(MASTER, "shorts"))
    assert unknown["redis"]["verdict"] == "broken"
    assert "master=" in unknown["redis"]["todo"]
    assert f"127.0.0.1:{calm.sentinel.port} (does not know shorts)" in unknown["redis sentinels"]["found"]


def doctor(monkeypatch: pytest.MonkeyPatch, url: str) -> dict[str, Any]:
    monkeypatch.setenv("REELWORKS_REDIS_URL", url)
    result = CliRunner().invoke(cli, ["doctor", "--json"])
    return {each["name"]: each for each in json.loads(result.stdout)["checks"]}


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, TlsProxy]]:
    """The address of a server and a sentinel behind TLS, but for the authority's file; and what ends the server's."""
    folder = tmp_path_factory.mktemp("tls")
    with valkey_server(folder) as server, closing(TlsProxy(server.port, plain=True)) as front, ExitStack() as stack:
        # The sentinel itself speaks no TLS: what it watches takes both.
        sentinel = Sentinel(folder, front.port, down_after_ms=60_000)
        stack.callback(sentinel.stop)
        sentinel.start()
        entrance = stack.enter_context(closing(TlsProxy(sentinel.port)))
        wait_until(lambda: front.plain_connections == 2, what="the sentinel watching")
        yield f"sentinels://127.0.0.1:{entrance.port}/0?master={MASTER}&ssl_ca_certs=", front


def test_everybody_speaks_tls_to_sentinels_and_servers(encrypted: tuple[str, TlsProxy]) -> None:
    url = f"{encrypted[0]}{CA}"
    with Producer(url) as producer:
        assert producer.submit(**TEXT).state is None
    with closing(Pulse(url)) as pulse:
        assert pulse.redis.ping()
        pulse.redis.rpush("shelf", "one")
    with asking("asked", url) as app:
        app.connection().connect()
    with Celery("waiting", set_as_current=False) as app:
        app.conf.update(result_settings(url))
        assert app.backend.client.ping()
    assert lengths(url) == [{"name": "shelf", "messages": 1}]
    assert encrypted[1].plain_connections == 2  # the sentinel's own


def test_a_sentinel_of_another_authority_is_believed_by_nobody(encrypted: tuple[str, TlsProxy]) -> None:
    url = f"{encrypted[0]}{OTHER_CA}"
    with Producer(url) as producer, pytest.raises(NotSubmitted, match="MasterNotFoundError"):
        producer.submit(**TEXT)
    with asking("asked", url) as app, pytest.raises(redis.ConnectionError):
        app.connection().connect()
