"""TLS to Redis and PostgreSQL by the address alone: it works with the right authority, and with no other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import redis
import sqlalchemy as sa

from schemas.errors import NotSubmitted
from schemas.producer import Producer
from tasks.ledger import Ledger, LedgerError
from tasks.ledger.migrate import upgrade
from tasks.pulse import Pulse
from tests.support.environment import foreign_environment
from tests.support.tls import CA, CERTIFICATES, OTHER_CA, TlsProxy
from tests.support.valkey import Valkey, valkey_server
from tests.support.waiting import wait_until
from workers import pools
from workers.probes import WorkerProbe
from workers.stackplan import ROOT
from workers.transports import verified

REQUEST = {"model": "minimax_hailuo_02_i2v", "first_frame_image": "https://pictures.example/cat.jpg"}
CLIENT = f"ssl_certfile={CERTIFICATES}/client.pem&ssl_keyfile={CERTIFICATES}/client.key"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey_server(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
def proxy(server: Valkey) -> Iterator[TlsProxy]:
    with closing(TlsProxy(server.port)) as running:
        yield running


def address(proxy: TlsProxy, query: str, host: str = "localhost") -> str:
    return f"rediss://{host}:{proxy.port}/0?{query}"


def worker(url: str, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    env = {
        **foreign_environment(),
        "REELWORKS_REDIS_URL": url,
        "REELWORKS_DATABASE_URL": f"sqlite:///{folder}/reelworks.db",
        "REELWORKS_VAR": str(folder),
    }
    with closing(Ledger(env["REELWORKS_DATABASE_URL"])) as ledger:
        upgrade(ledger)
    with log.open("wb") as out:
        return subprocess.Popen(pools.command("create", pools.PoolSizes()), env=env, cwd=ROOT, stdout=out, stderr=out)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_producer_and_the_workers_speak_tls(proxy: TlsProxy, host: str) -> None:
    url = address(proxy, f"ssl_ca_certs={CA}", host)
    with Producer(url) as producer:
        assert producer.submit(**REQUEST).state is None
    with closing(Pulse(verified(url))) as pulse:
        assert pulse.redis.ping()
    assert proxy.connections > 0


def test_a_worker_answers_over_tls(proxy: TlsProxy, tmp_path: Path) -> None:
    url = address(proxy, f"ssl_ca_certs={CA}")
    process = worker(url, tmp_path, tmp_path / "log")
    try:
        with closing(WorkerProbe(verified(url))) as probe:
            node = pools.node_name("create", os.uname().nodename)
            wait_until(lambda: probe.answers(node), within_s=60, what="the worker")
    finally:
        process.terminate()
        process.wait(30)
    assert proxy.connections > 1


@pytest.mark.parametrize("query", [f"ssl_ca_certs={OTHER_CA}", "", f"ssl_ca_certs={OTHER_CA}&ssl_cert_reqs=required"])
def test_a_server_of_another_authority_is_refused_by_all(proxy: TlsProxy, server: Valkey, query: str) -> None:
    url = address(proxy, query)
    before = server.client.xlen("reelworks:requests")
    with Producer(url) as producer, pytest.raises(NotSubmitted):
        producer.submit(**REQUEST)
    with (
        closing(Pulse(verified(url))) as pulse,
        pytest.raises(redis.ConnectionError, match="certificate verify failed"),
    ):
        pulse.redis.ping()
    assert server.client.xlen("reelworks:requests") == before
    assert proxy.connections == 0


def test_a_worker_refuses_a_server_of_another_authority(proxy: TlsProxy, tmp_path: Path) -> None:
    process = worker(address(proxy, f"ssl_ca_certs={OTHER_CA}"), tmp_path, tmp_path / "log")
    try:
        wait_until(
            lambda: "certificate verify failed" in (tmp_path / "log").read_text(), within_s=60, what="the refusal"
        )
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
    assert proxy.connections == 0


def test_a_server_may_ask_for_a_certificate(server: Valkey) -> None:
    with closing(TlsProxy(server.port, client_ca=CA)) as proxy:
        with closing(Pulse(address(proxy, f"ssl_ca_certs={CA}&{CLIENT}"))) as pulse:
            assert pulse.redis.ping()
        with closing(Pulse(address(proxy, f"ssl_ca_certs={CA}"))) as pulse, pytest.raises(redis.ConnectionError):
            pulse.redis.ping()


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[TlsProxy]:
    where = parse_qs(urlsplit(postgres_server).query)
    with closing(TlsProxy(f"{where['host'][0]}/.s.PGSQL.{where['port'][0]}", postgres=True)) as running:
        yield running


def database(postgres: TlsProxy, query: str, host: str = "localhost") -> Ledger:
    return Ledger(f"postgresql+psycopg://postgres@{host}:{postgres.port}/postgres?{query}")


def test_the_ledger_speaks_tls_and_verifies_the_server(postgres: TlsProxy) -> None:
    with closing(database(postgres, f"sslmode=verify-full&sslrootcert={CA}")) as ledger:
        upgrade(ledger)
        with ledger.read() as tx:
            assert tx.execute(sa.text("SELECT 1")).scalar() == 1
    assert postgres.connections > 0


@pytest.mark.parametrize("query", [f"sslmode=verify-full&sslrootcert={OTHER_CA}", "sslmode=disable"])
def test_the_ledger_refuses_a_server_of_another_authority(postgres: TlsProxy, query: str) -> None:
    with closing(database(postgres, query)) as ledger, pytest.raises(LedgerError), ledger.read() as tx:
        tx.execute(sa.text("SELECT 1"))
    assert postgres.connections == 0


def test_doctor_finds_redis_over_tls(proxy: TlsProxy, tmp_path: Path) -> None:
    env = {
        **foreign_environment(),
        "REELWORKS_REDIS_URL": address(proxy, f"ssl_ca_certs={CA}"),
        "REELWORKS_VAR": str(tmp_path),
        "REELWORKS_PROVIDER_URL": "http://127.0.0.1:9",
    }
    said = subprocess.run(
        [sys.executable, "-m", "workers", "doctor"], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "redis: Valkey" in said.stdout
