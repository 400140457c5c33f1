"""Fixtures with real servers: each test has a Redis (or an empty one) and a database of its own."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from schemas.jobs import Output
from schemas.producer import Producer
from tasks.ledger import Ledger
from tasks.ledger.migrate import upgrade
from tasks.media.outputs import OutputFetcher
from tasks.media.s3store import S3Store
from tasks.pulse import Pulse
from tests.support import postgres
from tests.support.bench import Bench, steps_on
from tests.support.objects import ObjectStore, object_store
from tests.support.situations import FILM_BYTES
from tests.support.valkey import Valkey, valkey_server
from workers.cli import cli


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    with valkey_server(tmp_path) as server:
        yield server.url


@pytest.fixture(scope="module")
def module_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A server that the tests of a module share, as they leave it to one another."""
    with valkey_server(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def valkey(module_valkey: Valkey) -> Valkey:
    """The same, empty."""
    module_valkey.client.flushall()
    return module_valkey


@pytest.fixture
def producer(valkey: Valkey) -> Iterator[Producer]:
    with Producer(valkey.url) as made:
        yield made


@pytest.fixture
def pulse(redis_url: str) -> Iterator[Pulse]:
    made = Pulse(redis_url)
    yield made
    made.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Connection string of a real PostgreSQL server."""
    with postgres.postgres_server() as server:
        yield server.socket_url.replace("+psycopg", "")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/ledger.db"
    else:
        with _database_of(request.getfixturevalue("postgres_server")) as url:
            yield url


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of SQLite with the schema and nothing else, to be copied: quicker than all migrations each time."""
    file = tmp_path_factory.mktemp("migrated") / "ledger.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def migrated_database(postgres_server: str) -> Iterator[str]:
    """The name of one of PostgreSQL."""
    with _database_of(postgres_server) as url:
        _migrate(url)
        yield str(sa.make_url(url).database)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated database, once of each kind."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "ledger.db")
        yield f"sqlite:///{tmp_path}/ledger.db"
        return
    name = request.getfixturevalue("migrated_database")
    # Copied as files: half the time of writing every page to the log.
    with _database_of(request.getfixturevalue("postgres_server"), f"TEMPLATE {name} STRATEGY file_copy") as url:
        yield url


@contextmanager
def _database_of(server: str, how: str = "") -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} {how}")
    yield server.replace("postgresql://", "postgresql+psycopg://").replace("/postgres?", f"/{name}?")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _migrate(url: str) -> None:
    ledger = Ledger(url)
    upgrade(ledger)
    ledger.close()


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    """A migrated ledger, once on each database."""
    made = Ledger(database_url)
    yield made
    made.close()


@pytest.fixture
def small_books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """A ledger on SQLite alone, which the command line uses too: for what does not depend on the database."""
    url = f"sqlite:///{tmp_path}/small.db"
    monkeypatch.setenv("REELWORKS_DATABASE_URL", url)
    made = Ledger(url)
    upgrade(made)
    yield made
    made.close()


@pytest.fixture(scope="session")
def object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_store(tmp_path_factory.mktemp("objects")) as server:
        yield server


@pytest.fixture
def objects(object_server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """An object store that this process finds by its environment. Its buckets are each test's own."""
    for name, value in object_server.environment().items():
        monkeypatch.setenv(name, value)
    return object_server


@pytest.fixture
def s3_store(objects: ObjectStore, tmp_path: Path) -> S3Store:
    return S3Store(objects.new_bucket(), tmp_path / "parts")


@pytest.fixture
def quick_films(monkeypatch: pytest.MonkeyPatch) -> None:
    """Films are in the store at once, with some bytes that stand for one."""

    def keep(self: OutputFetcher, _remote: Any, name: str, index: int, _expected: Any) -> Output:
        path = Path(self._store.root) / f"{name}.mp4"  # type: ignore[attr-defined]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILM_BYTES)
        return Output(index, "video", f"{name}.mp4", len(FILM_BYTES), "ab" * 32, 1366, 768, 6.0)

    monkeypatch.setattr(OutputFetcher, "keep", keep)


@pytest.fixture
def bench(
    ledger: Ledger, pulse: Pulse, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    """The steps of a job's way, once on each database."""
    monkeypatch.setenv("REELWORKS_REDIS_URL", redis_url)
    with steps_on(ledger, pulse, redis_url, tmp_path) as made:
        yield made


@pytest.fixture
def said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """What a verb says about the bench's ledger, once it has ended with `code`."""
    monkeypatch.setenv("REELWORKS_DATABASE_URL", bench.ctx.ledger.engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("REELWORKS_VAR", str(bench.folder))

    def say(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, list(words))
        assert result.exit_code == code, result.output
        return result

    return say
