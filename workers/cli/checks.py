"""The checks of `doctor`: each looks at one thing, says what it found and what to do. They change and spend nothing."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import redis
import requests
from celery import Celery
from kombu.exceptions import KombuError

from schemas.jobs import State
from tasks.ledger import LedgerError, SchemaMismatch
from tasks.ledger.jobs import count
from tasks.ledger.provider_keys import Pauses
from tasks.media.bucket import Bucket
from tasks.media.errors import StoreAway
from tasks.media.s3store import S3Store
from tasks.media.store import FolderStore
from tasks.pulse import Pulse
from workers import pools
from workers.cli.common import join_running_stack, opened_ledger, sqlite_path
from workers.cli.exits import Failure
from workers.runtime import open_ledger, open_pulse, open_spool, open_store
from workers.settings import Settings, SettingsInvalid, read_settings
from workers.storeplace import BUCKET_TODO, endpoint
from workers.transports import is_open

_PACKAGES: Final = ("celery", "redis", "marshmallow", "requests", "sqlalchemy", "alembic", "av", "pillow", "flower")
_PYTHON: Final = (3, 11)
_REDIS: Final = (6, 2)
_TIMEOUT_S: Final = 3.0
_SET_A_KEY: Final = (
    "set VTRIX_API_KEY, or REELWORKS_PROVIDER_KEYS to alias=key,alias=key; each can be a file (..._FILE)"
)


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found, and what to do about it (empty: nothing)."""

    name: str
    verdict: Verdict
    found: str
    todo: str = ""


def _ok(name: str, found: str) -> Check:
    return Check(name, Verdict.OK, found)


def _warning(name: str, found: str, todo: str) -> Check:
    return Check(name, Verdict.WARNING, found, todo)


def _broken(name: str, found: str, todo: str) -> Check:
    return Check(name, Verdict.BROKEN, found, todo)


def checks() -> Iterator[Check]:
    """Every check, in the order in which things build on one another."""
    yield _python()
    yield _packages()
    joined = join_running_stack()
    try:
        read = read_settings()
    except SettingsInvalid as error:
        for variable, problem in error.problems.items():
            yield _broken("settings", f"{variable}: {problem}", "mend it in the environment")
        return
    where = f", addresses of the stack that runs in {read.var}" if joined else ""
    yield _ok("settings", f"all can be used{where}")
    pulse = open_pulse(read)
    try:
        found = list(_redis(pulse))
        yield from found
        yield from _open_addresses(read)
        reachable = found[0].verdict is Verdict.OK
        yield from _database(read)
        yield from _store(read)
        yield _provider(read.provider_url)
        yield _outputs(read, joined=joined)
        yield _keys(read, joined=joined)
        if reachable:
            yield from _workers(read)
    finally:
        pulse.close()


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _PYTHON:
        return _broken("python", found, "install Python 3.11 or newer, and make the environment anew")
    return _ok("python", found)


def _packages() -> Check:
    versions, missing = [], []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return _broken(
            "packages", f"missing: {', '.join(missing)}", "pip install --require-hashes -r requirements.lock"
        )
    return _ok("packages", ", ".join(versions))


def _redis(pulse: Pulse) -> Iterator[Check]:
    """The first says whether Redis answers; the others whether it is fit for a queue of paid work."""
    try:
        info: dict[str, Any] = pulse.redis.info()
    except redis.AuthenticationError:
        yield _broken("redis", "refuses the password", "mend the password in REELWORKS_REDIS_URL")
        return
    except redis.RedisError as error:
        todo = "start it (`python -m workers up` brings its own), or set REELWORKS_REDIS_URL"
        yield _broken("redis", f"does not answer ({type(error).__name__})", todo)
        return
    server = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info.get('redis_version')}"
    yield _ok("redis", f"{server} answers")
    spoken = str(info.get("redis_version", "0"))  # a Valkey says here which Redis it speaks like
    if tuple(int(part) for part in spoken.split(".")[:2] if part.isdecimal()) < _REDIS:
        yield _broken("redis version", spoken, "run Redis 6.2 or newer, or Valkey")
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        yield _ok("redis maxmemory-policy", policy)
    else:
        todo = "set maxmemory-policy to noeviction: with any other, requests are thrown away when memory is full"
        yield _warning("redis maxmemory-policy", policy, todo)
    if not info.get("aof_enabled"):
        todo = "set appendonly to yes: without it a crash of Redis loses requests that were just submitted"
        yield _warning("redis persistence", "append-only file is off", todo)


def _open_addresses(read: Settings) -> Iterator[Check]:
    """What crosses a network in the clear, or to whoever answers."""
    if is_open(read.redis_url):
        todo = "use rediss:// (ssl_ca_certs names an authority of your own), unless the network is yours alone"
        yield _warning("redis transport", "not encrypted", todo)
    if is_open(read.database_url):
        todo = "add ?sslmode=verify-full&sslrootcert=... to the address, unless the network is yours alone"
        yield _warning("database transport", "the server's certificate is not verified", todo)
    if isinstance(read.store, Bucket) and (address := endpoint(os.environ)).startswith("http://") and is_open(address):
        todo = "use an endpoint that is https://, unless the network is yours alone"
        yield _warning("store transport", "not encrypted", todo)


def _database(read: Settings) -> Iterator[Check]:
    """Whether it can be worked on, and what in it waits for somebody."""
    backend = read.database_url.partition(":")[0]
    try:
        with opened_ledger(read) as ledger, ledger.read() as tx:
            doubtful = count(tx, State.UNCERTAIN)
    except SchemaMismatch as error:
        found = f"{backend}, schema {error.found or 'none'}, needed is {error.needed}"
        yield _broken("database", found, "run `python -m workers migrate`")
    except Failure:
        todo = "run `python -m workers migrate`, or name the folder of a stack with --var"
        yield _broken("database", f"{backend}, not there yet", todo)
    except LedgerError as error:
        todo = "start it, and look at REELWORKS_DATABASE_URL"
        yield _broken("database", f"{backend} can't be opened ({type(error).__name__})", todo)
    else:
        yield _ok("database", f"{backend}, schema is this version's")
        if doubtful:
            yield _warning("uncertain jobs", str(doubtful), "resolve them: `python -m workers uncertain`")
    spooled = open_spool(read).waiting()
    if spooled:
        todo = "nothing if the database is away: workers of this machine write them when it is back"
        yield _warning("spool", f"{spooled} answers of the provider wait for the database", todo)


def _store(read: Settings) -> Iterator[Check]:
    store = open_store(read)
    yield _bucket(store) if isinstance(store, S3Store) else _folder(store.root)
    yield _disk(store, read.policy.disk_low_bytes)


def _bucket(store: S3Store) -> Check:
    try:
        store.try_out()
    except StoreAway as error:
        return _broken("store", f"{store.bucket} can't be used: {error}", BUCKET_TODO)
    return _ok("store", f"{store.bucket}: a small object was written, read and deleted")


def _folder(folder: Path) -> Check:
    # The store is made when the first output comes: what counts until then is the folder it will be made in.
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(b"\0")
    except OSError as error:
        todo = "make the folder writable for this user, or set REELWORKS_STORE"
        return _broken("store", f"{there} can't be written to ({error.strerror})", todo)
    return _ok("store", f"{folder} can be written to")


def _disk(store: FolderStore | S3Store, low_bytes: int) -> Check:
    found = f"{store.free_bytes() / 1e9:.1f} GB free"
    if not store.has_room():
        todo = "make room: below REELWORKS_DISK_LOW_BYTES nothing is downloaded"
        return _warning("disk", f"{found}, {low_bytes / 1e9:.1f} GB have to be", todo)
    return _ok("disk", found)


def _provider(url: str) -> Check:
    """A GET without a key on the root: it creates nothing and costs nothing; any answer will do."""
    todo = "look at the network and at REELWORKS_PROVIDER_URL"
    try:
        with requests.Session() as session:
            session.trust_env = False
            with session.get(url, timeout=_TIMEOUT_S, allow_redirects=False, stream=True) as answer:
                status = answer.status_code
    except requests.RequestException as error:
        return _broken("provider", f"does not answer ({type(error).__name__})", todo)
    if status >= 500:
        return _warning("provider", f"answers with HTTP {status}", "it may be out of order: look again later")
    return _ok("provider", f"answers (HTTP {status} without a key)")


def _outputs(read: Settings, *, joined: bool) -> Check:
    private = sorted(read.output_reach.private)
    if not private and joined:
        return _ok("output addresses", "none that is private in this environment; the running stack has its own")
    if not private:
        return _ok("output addresses", "https and public alone")
    found = f"private ones may be reached: {', '.join(private)}"
    if urlsplit(read.provider_url).scheme == "https":
        todo = "empty REELWORKS_OUTPUT_PRIVATE: it is for a simulator, and whoever names outputs can reach these"
        return _warning("output addresses", found, todo)
    return _ok("output addresses", found)


def _keys(read: Settings, *, joined: bool) -> Check:
    aliases = sorted(read.provider_keys)
    if not aliases and joined:
        return _ok("provider keys", "none in this environment; the running stack has its own")
    if not aliases:
        return _broken("provider keys", "none", _SET_A_KEY)
    ledger = open_ledger(read)
    path = sqlite_path(ledger)
    try:
        paused = {} if path is not None and not path.exists() else Pauses(ledger).paused(aliases)
    except LedgerError:
        paused = {}  # the check of the database says so
    finally:
        ledger.close()
    if paused:
        found = "; ".join(f"{alias} is paused: {reason}" for alias, reason in sorted(paused.items()))
        return _warning("provider keys", found, "look at the key and its balance; a pause ends by itself")
    return _ok("provider keys", f"set: {', '.join(aliases)}")


def _workers(read: Settings) -> Iterator[Check]:
    app = Celery("doctor", broker=read.redis_url, set_as_current=False)
    app.conf.broker_transport_options = {"socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S}
    try:
        answers = app.control.ping(timeout=_TIMEOUT_S / 2) or []
    except (OSError, KombuError) as error:
        yield _broken("workers", f"can't be asked ({type(error).__name__})", "look at Redis")
        return
    finally:
        app.close()
    nodes = sorted(node for answer in answers for node in answer)
    for name in pools.POOLS:
        mine = [node for node in nodes if node.startswith(pools.node_name(name, ""))]
        if mine:
            yield _ok(f"workers {name}", f"{len(mine)} answer: {', '.join(mine)}" if mine[1:] else f"{mine[0]} answers")
        else:
            todo = f"start one: `python -m workers up`, or `python -m workers pool {name}`"
            yield _broken(f"workers {name}", "none answers", todo)


def environment_names() -> list[str]:
    """Which variables of ours are set here, by name only."""
    return sorted(name for name in os.environ if name.startswith(("REELWORKS_", "VTRIX_API_KEY")))
