"""The checks of `doctor`: each looks at one thing, says what it found and what to do. They change and spend nothing."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kombu.exceptions import KombuError

from schemas.jobs import State
from tasks.ledger import LedgerError, SchemaMismatch
from tasks.ledger.jobs import count
from tasks.ledger.pauses import pauses_now
from tasks.media.bucket import Bucket
from tasks.media.errors import StoreAway
from tasks.media.folderstore import FolderStore
from tasks.media.s3store import S3Store
from workers import pools, traceplace
from workers.celeryplace import asking
from workers.cli.clocks import clocks
from workers.cli.common import join_running_stack, opened_ledger
from workers.cli.exits import Failure
from workers.cli.formats import pause_line, size
from workers.cli.providerchecks import keys, outputs, provider
from workers.cli.redischecks import look_at_redis
from workers.cli.verdicts import Check, Verdict, broken, ok, warning
from workers.runtime import open_pulse, open_spool, open_store
from workers.settings import Settings, SettingsInvalid, read_settings
from workers.storeplace import BUCKET_TODO, endpoint
from workers.transports import is_open

_PACKAGES: Final = ("celery", "redis", "marshmallow", "requests", "sqlalchemy", "alembic", "av", "pillow", "flower")
_PYTHON: Final = (3, 11)
_TIMEOUT_S: Final = 3.0


def checks() -> Iterator[Check]:
    """Every check, in the order in which things build on one another."""
    yield _python()
    yield _packages()
    joined = join_running_stack()
    try:
        read = read_settings()
    except SettingsInvalid as error:
        for variable, problem in error.problems.items():
            yield broken("settings", f"{variable}: {problem}", "mend it in the environment")
        return
    where = f", addresses of the stack that runs in {read.var}" if joined else ""
    yield ok("settings", f"all can be used{where}")
    pulse = open_pulse(read)
    try:
        found = list(look_at_redis(pulse, read.redis_url))
        yield from found
        yield from _open_addresses(read)
        reachable = found[0].verdict is Verdict.OK
        yield from _database(read)
        yield from _store(read)
        answers = provider(read.provider_url)
        yield answers.check
        yield outputs(read, joined=joined)
        yield keys(read, joined=joined, answers=answers.check.verdict is not Verdict.BROKEN)
        yield clocks(pulse if reachable else None, read, answers.ahead_s)
        if read.traces:
            yield _traces()
        if reachable:
            yield from _workers(read)
    finally:
        pulse.close()


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _PYTHON:
        return broken("python", found, "install Python 3.11 or newer, and make the environment anew")
    return ok("python", found)


def _packages() -> Check:
    versions, missing = [], []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return broken("packages", f"missing: {', '.join(missing)}", "pip install --require-hashes -r requirements.lock")
    return ok("packages", ", ".join(versions))


def _open_addresses(read: Settings) -> Iterator[Check]:
    """What crosses a network in the clear, or to whoever answers."""
    if is_open(read.redis_url):
        todo = "use rediss:// or sentinels:// (ssl_ca_certs: your own authority), unless the network is yours alone"
        yield warning("redis transport", "not encrypted", todo)
    if is_open(read.database_url):
        todo = "add ?sslmode=verify-full&sslrootcert=... to the address, unless the network is yours alone"
        yield warning("database transport", "the server's certificate is not verified", todo)
    if isinstance(read.store, Bucket) and (address := endpoint(os.environ)).startswith("http://") and is_open(address):
        todo = "use an endpoint that is https://, unless the network is yours alone"
        yield warning("store transport", "not encrypted", todo)


def _database(read: Settings) -> Iterator[Check]:
    """Whether it can be worked on, and what in it waits for somebody."""
    backend = read.database_url.partition(":")[0]
    try:
        with opened_ledger(read) as ledger, ledger.read() as tx:
            doubtful, paused = count(tx, State.UNCERTAIN), pauses_now(tx)
    except SchemaMismatch as error:
        found = f"{backend}, schema {error.found or 'none'}, needed is {error.needed}"
        yield broken("database", found, "run `python -m workers migrate`")
    except Failure:
        todo = "run `python -m workers migrate`, or name the folder of a stack with --var"
        yield broken("database", f"{backend}, not there yet", todo)
    except LedgerError as error:
        todo = "start it, and look at REELWORKS_DATABASE_URL"
        yield broken("database", f"{backend} can't be opened ({type(error).__name__})", todo)
    else:
        yield ok("database", f"{backend}, schema is this version's")
        if doubtful:
            yield warning("uncertain jobs", str(doubtful), "resolve them: `python -m workers uncertain`")
        for each in paused:
            yield warning("paused", pause_line(each), f"when it is over: `python -m workers resume --{each.of}`")
    spooled = open_spool(read).waiting()
    if spooled:
        todo = "nothing if the database is away: workers of this machine write them when it is back"
        yield warning("spool", f"{spooled} answers of the provider wait for the database", todo)


def _store(read: Settings) -> Iterator[Check]:
    store = open_store(read)
    yield _bucket(store) if isinstance(store, S3Store) else _folder(store.root)
    yield _disk(store, read.policy.disk_low_bytes)


def _bucket(store: S3Store) -> Check:
    try:
        store.try_out()
    except StoreAway as error:
        return broken("store", f"{store.bucket} can't be used: {error}", BUCKET_TODO)
    return ok("store", f"{store.bucket}: a small object was written, read and deleted")


def _folder(folder: Path) -> Check:
    # The store is made when the first output comes: what counts until then is the folder it will be made in.
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(b"\0")
    except OSError as error:
        todo = "make the folder writable for this user, or set REELWORKS_STORE"
        return broken("store", f"{there} can't be written to ({error.strerror})", todo)
    return ok("store", f"{folder} can be written to")


def _disk(store: FolderStore | S3Store, low_bytes: int) -> Check:
    found = f"{size(store.free_bytes())} free"
    if not store.has_room():
        todo = "make room: below REELWORKS_DISK_LOW_BYTES nothing is accepted, created or downloaded"
        return broken("disk", f"{found}, {size(low_bytes)} have to be", todo)
    return ok("disk", found)


def _traces() -> Check:
    problem = traceplace.problem(os.environ)
    if problem is not None:
        return warning("traces", "are not sent", problem)
    return ok("traces", "are sent to where OTEL_EXPORTER_OTLP_... says, half a minute after a job's end")


def _workers(read: Settings) -> Iterator[Check]:
    app = asking("doctor", read.redis_url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)
    try:
        answers = app.control.ping(timeout=_TIMEOUT_S / 2) or []
    except (OSError, KombuError) as error:
        yield broken("workers", f"can't be asked ({type(error).__name__})", "look at Redis")
        return
    finally:
        app.close()
    nodes = sorted(node for answer in answers for node in answer)
    for name in pools.POOLS:
        mine = [node for node in nodes if node.startswith(pools.node_name(name, ""))]
        if mine:
            yield ok(f"workers {name}", f"{len(mine)} answer: {', '.join(mine)}" if mine[1:] else f"{mine[0]} answers")
        else:
            todo = f"start one: `python -m workers up`, or `python -m workers pool {name}`"
            yield broken(f"workers {name}", "none answers", todo)


def environment_names() -> list[str]:
    """Which variables of ours are set here, by name only."""
    return sorted(name for name in os.environ if name.startswith(("REELWORKS_", "VTRIX_API_KEY")))
