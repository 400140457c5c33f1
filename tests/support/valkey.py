"""A real valkey-server for one test: its own port, its own folder; what befalls it is done to its own process."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.support.waiting import wait_until
from workers.probes import free_port
from workers.stackplan import valkey_server_binary


class Valkey:
    """A server on a free port, with its data in `folder` (AOF, so that it can be restarted).

    `acl` is a file of users, `login` (user:password) the one that `client` and `url` come as.
    """

    def __init__(self, folder: Path, *, acl: Path | None = None, login: str = "") -> None:
        self.folder, self.port, self._acl = folder, free_port(), acl
        self.url = self.url_for(login)
        self.client = redis.Redis.from_url(self.url)
        self._process: subprocess.Popen[bytes] | None = None

    def url_for(self, login: str) -> str:
        """The address for those who come as `login`."""
        return f"redis://{login}@127.0.0.1:{self.port}/0" if login else f"redis://127.0.0.1:{self.port}/0"

    def start(self, *more: str, loading: bool = False) -> None:
        """Start with `more` options and wait for an answer; with `loading`, for the one that it is still loading."""
        options: dict[str, object] = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.folder,
            "appendonly": "yes",
            "save": "",
        }
        if self._acl is not None:
            options["aclfile"] = self._acl
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([valkey_server_binary(), *arguments, *more], stdout=log, stderr=log)
        wait_until(self._loads if loading else self._answers, what="valkey-server")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
            self._process = None

    def kill(self) -> None:
        """As a machine that is gone: nothing is written any more, and nobody is told."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(10)
        self._process = None

    def forget(self) -> None:
        """Remove the data of a stopped server from the disk."""
        shutil.rmtree(self.folder / "appendonlydir")

    def freeze(self) -> None:
        """Stop the process where it stands: connections are kept, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "the server does not run"
        self._process.send_signal(number)

    def _loads(self) -> bool:
        try:
            return not self.client.ping()
        except redis.BusyLoadingError:
            return True
        except redis.ConnectionError:
            return False

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False


@contextmanager
def valkey_server(folder: Path, *, acl: Path | None = None, login: str = "") -> Iterator[Valkey]:
    server = Valkey(folder, acl=acl, login=login)
    server.start()
    try:
        yield server
    finally:
        server.client.close()
        server.stop()
