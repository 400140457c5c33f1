"""A primary, its replica and a sentinel that watches over them: real servers with ports and folders of their own."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from tests.support.valkey import Valkey
from tests.support.waiting import wait_until
from workers.probes import free_port
from workers.stackplan import ROOT, valkey_server_binary

MASTER = "films"
USERS = ("admin", "worker", "producer", "celery", "flower", "replica", "sentinel")
PASSWORD = "canary-of-the-servers"
"""Of each user, behind its name."""
SENTINEL_PASSWORD = "canary-of-the-sentinels"
_EXAMPLES = (ROOT / "ops" / "redis" / "users.acl.example", ROOT / "ops" / "redis" / "sentinel.acl.example")


class Sentinel:
    """A sentinel that watches the server on `port`, and decides alone. `password`: its own, where there are users."""

    def __init__(self, folder: Path, port: int, *, down_after_ms: int, password: str = "") -> None:
        self._folder, self.port = folder, free_port()
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {folder}",
            f"sentinel monitor {MASTER} 127.0.0.1 {port} 1",
            f"sentinel down-after-milliseconds {MASTER} {down_after_ms}",
            f"sentinel failover-timeout {MASTER} 4000",
            *(f"sentinel {line}" for line in _users_of(password)),
            *([f"requirepass {password}"] if password else []),
        ]
        (folder / "sentinel.conf").write_text("\n".join(lines) + "\n")
        self.client = redis.Redis(port=self.port, password=password or None)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [valkey_server_binary(), self._folder / "sentinel.conf", "--sentinel"]
        with (self._folder / "sentinel.log").open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log)
        wait_until(lambda: self.state() is not None, what="the sentinel")

    def state(self) -> Any:
        """What it knows of the primary; `None` when it does not answer."""
        try:
            return self.client.sentinel_masters()[MASTER]
        except redis.ConnectionError:
            return None

    def knows_replica(self) -> bool:
        """Whether there is one that it would promote."""
        return any(each["master-link-status"] == "ok" for each in self.client.sentinel_slaves(MASTER))

    def stop(self) -> None:
        self.client.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)


class Watched:
    """What there is, and its address, in which a sentinel that is gone stands first."""

    def __init__(self, primary: Valkey, replica: Valkey, sentinel: Sentinel, *, users: bool) -> None:
        self.primary, self.replica, self.sentinel = primary, replica, sentinel
        self.gone = free_port()
        self._users = users

    def url(self, more: str = "", *, user: str = "worker") -> str:
        login, query = (f"{_login(user)}@", f"&sentinel_password={SENTINEL_PASSWORD}") if self._users else ("", "")
        hosts = f"127.0.0.1:{self.gone},127.0.0.1:{self.sentinel.port}"
        return f"sentinel://{login}{hosts}/0?master={MASTER}{query}{more}"


@contextmanager
def watched(folder: Path, *, down_after_ms: int = 60_000, users: bool = False) -> Iterator[Watched]:
    """All three, when the sentinel knows the replica. `users`: those of `ops/redis`, and nobody comes in without."""
    for name in ("primary", "replica", "sentinel"):
        (folder / name).mkdir(parents=True)
    acl = _acl(folder / "users.acl") if users else None
    follows = ["--masteruser", "replica", "--masterauth", _password("replica")] if users else []
    with ExitStack() as stack:
        login = _login("admin") if users else ""
        primary, replica = (Valkey(folder / name, acl=acl, login=login) for name in ("primary", "replica"))
        for server in (primary, replica):
            stack.callback(server.stop)
            stack.callback(server.client.close)
        primary.start(*follows, "--repl-diskless-sync-delay", "0")
        replica.start(*follows, "--replicaof", f"127.0.0.1 {primary.port}")
        password = SENTINEL_PASSWORD if users else ""
        sentinel = Sentinel(folder / "sentinel", primary.port, down_after_ms=down_after_ms, password=password)
        stack.callback(sentinel.stop)
        wait_until(lambda: replica.client.info("replication")["master_link_status"] == "up", what="the replica")
        sentinel.start()
        wait_until(sentinel.knows_replica, what="the sentinel knowing the replica")
        yield Watched(primary, replica, sentinel, users=users)


def _password(user: str) -> str:
    return f"{PASSWORD}-{user}"


def _login(user: str) -> str:
    return f"{user}:{_password(user)}"


def _acl(path: Path) -> Path:
    text = "".join(example.read_text() for example in _EXAMPLES)
    for user in USERS:
        text = text.replace(f"#{user.upper()}_SHA256", f"#{hashlib.sha256(_password(user).encode()).hexdigest()}")
    path.write_text(text)
    return path


def _users_of(password: str) -> list[str]:
    return [f"auth-user {MASTER} sentinel", f"auth-pass {MASTER} {_password('sentinel')}"] if password else []
