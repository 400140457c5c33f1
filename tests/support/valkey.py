"""A real valkey-server for one test: its own port, its own folder, stopped by its process."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.support.waiting import wait_until
from workers import stackplan
from workers.probes import free_port


@contextmanager
def running_valkey(folder: Path) -> Iterator[str]:
    """The URL of a fresh server that keeps nothing on disk."""
    port = free_port()
    argv = [str(stackplan._valkey_server()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    with (folder / "valkey.log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            with redis.Redis(port=port) as client:
                wait_until(lambda: _answers(client), what="valkey-server")
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
