"""What every engine runs against: a fresh valkey, and the bench's provider; with short ways to what they saw."""

from __future__ import annotations

import http.client
import json
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from tests.bench.film import film
from tests.bench.processes import process, tail
from tests.support.tls import CA
from tests.support.valkey import valkey_server
from tests.support.waiting import wait_until
from workers.probes import free_port

_OURS = ("cmdstat_info", "cmdstat_llen")
"""What the bench itself asks of Redis while it watches; no engine asks for either."""


@dataclass(frozen=True)
class Provider:
    """The bench's provider, as its own process."""

    url: str
    pid: int

    def begin(self, complete_s: float) -> None:
        """Forget all tasks; from now on they complete so many seconds after their create."""
        self._get(f"/bench/begin/{complete_s:g}")

    def seen(self) -> dict[str, Any]:
        return self._get("/bench/seen")

    def counts(self) -> dict[str, int]:
        return self._get("/bench/counts")

    def _get(self, path: str) -> Any:
        scheme, _, place = self.url.partition("://")
        if scheme == "https":
            context = ssl.create_default_context(cafile=str(CA))
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(place, timeout=30, context=context)
        else:
            connection = http.client.HTTPConnection(place, timeout=30)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


@contextmanager
def provider(folder: Path, *, tls: bool = False, away_ms: float = 0.0, big: Path | None = None) -> Iterator[Provider]:
    """The provider; with `tls` behind a certificate for tests, with `away_ms` so far away, there and back."""
    folder.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder / "provider.log"
    argv = [sys.executable, "-m", "tests.bench.provider", "--port", str(port), "--film", str(film(folder))]
    argv += ["--tls"] * tls + (["--away-ms", f"{away_ms:g}"] if away_ms else [])
    argv += [] if big is None else ["--big", str(big)]
    with process(argv, log) as started:
        made = Provider(f"{'https' if tls else 'http'}://127.0.0.1:{port}", started.pid)
        wait_until(lambda: _answers(made), what=f"the provider ({tail(log)})")
        yield made


def _answers(made: Provider) -> bool:
    try:
        return made.counts() is not None
    except OSError:
        return False


@dataclass(frozen=True)
class Stand:
    """A valkey and a provider, for one engine; `folder` is the engine's own."""

    redis_url: str
    redis: redis.Redis
    provider: Provider
    folder: Path

    def commands(self) -> dict[str, int]:
        """How many commands of each kind Redis has run since its start, for whom ever, those within scripts too."""
        stats: dict[str, Any] = self.redis.info("commandstats")  # type: ignore[assignment]
        return {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items() if name not in _OURS}

    def redis_bytes(self) -> int:
        return int(self.redis.info("memory")["used_memory"])  # type: ignore[index]


@contextmanager
def stand(folder: Path, *, tls: bool = False, away_ms: float = 0.0) -> Iterator[Stand]:
    """The parts in `folder`, ended with the block."""
    with ExitStack() as stack:
        (folder / "valkey").mkdir(parents=True)
        broker = stack.enter_context(valkey_server(folder / "valkey"))
        made = stack.enter_context(provider(folder / "provider", tls=tls, away_ms=away_ms))
        yield Stand(broker.url, broker.client, made, folder)


def more(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """What was added to counts, the most frequent first."""
    added = {name: count - before.get(name, 0) for name, count in after.items()}
    return dict(sorted(((name, count) for name, count in added.items() if count), key=lambda each: -each[1]))
