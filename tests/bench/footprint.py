"""`python -m tests.bench.footprint [--jobs 1000]`: what processes hold, and what a job leaves behind; for sizing.

On each kind of database: the most memory and connections of each pool's processes while jobs go through, and, once all
of them are completed, the rows and bytes of one in the ledger. Absolute figures, for planning; `make bench` compares.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil
import sqlalchemy as sa

from tasks.ledger import Ledger
from tasks.ledger.tables import metadata
from tests.bench.engines import Ours
from tests.bench.processes import cpu_s, rss_bytes, trees
from tests.bench.stack import NO_LIMITS, Reelworks, polled_every, reelworks
from tests.bench.stand import Stand, stand
from tests.support.postgres import postgres_server
from workers.embedded import interruptible
from workers.logs import configure_logs
from workers.pools import POOLS

_JOB_S = 5.0
_WITHIN_S = 300
_MB = 1024 * 1024
_BYTES = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
    "postgresql": "SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables",
}


@dataclass(frozen=True)
class Held:
    """What the processes of one pool hold; `redis` and `database` are connections (none to a file)."""

    processes: int
    rss_mb: float
    redis: int
    database: int

    @classmethod
    def by(cls, pid: int, redis_port: int, database_port: int) -> Self:
        family, ports = trees([pid]), []
        for each in family:
            with suppress(psutil.NoSuchProcess):
                ports += [one.raddr.port for one in each.net_connections("tcp") if one.raddr]
        return cls(len(family), rss_bytes([pid]) / _MB, ports.count(redis_port), ports.count(database_port))

    def or_more(self, other: Held) -> Held:
        """The greater of each."""
        return Held(
            max(self.processes, other.processes),
            max(self.rss_mb, other.rss_mb),
            max(self.redis, other.redis),
            max(self.database, other.database),
        )


def rows(ledger: Ledger) -> dict[str, int]:
    """How many rows each table has."""
    with ledger.read() as tx:
        return {
            name: int(tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
            for name, table in metadata.tables.items()
        }


def stored_bytes(ledger: Ledger, kind: str) -> int:
    """Tables with their indexes, as they stand on the disk."""
    with ledger.read() as tx:
        return int(tx.execute(sa.text(_BYTES[kind])).scalar_one())


@contextmanager
def _database(kind: str) -> Iterator[tuple[str | None, int]]:
    if kind == "sqlite":
        yield None, 0
        return
    with postgres_server() as server:
        yield server.url, server.port


def _go_through(running: Reelworks, made: Stand, jobs: int, database_port: int) -> dict[str, Held]:
    """Have so many jobs done; what each pool held at most meanwhile. Raises `TimeoutError`."""
    engine, most = Ours(running), dict[str, Held]()
    redis_port = int(made.redis.connection_pool.connection_kwargs["port"])
    target, until = engine.done() + jobs, time.monotonic() + _WITHIN_S
    engine.feed(jobs)
    while engine.done() < target:
        if time.monotonic() > until:
            raise TimeoutError(f"{target - engine.done()} jobs were not done within {_WITHIN_S} s")
        for pool in POOLS:
            now = Held.by(running.pids(pool)[0], redis_port, database_port)
            most[pool] = now.or_more(most.get(pool, now))
        time.sleep(0.2)
    return most


def measure(kind: str, jobs: int, folder: Path) -> Iterator[str]:
    """Lines that say what was found on one kind of database."""
    with (
        _database(kind) as (url, port),
        stand(folder) as made,
        reelworks(made, {**NO_LIMITS, **polled_every(2)}, database_url=url) as running,
    ):
        made.provider.begin(_JOB_S)
        _go_through(running, made, 50, port)  # the first of them load what all others use
        rows_before, bytes_before = rows(running.ledger), stored_bytes(running.ledger, kind)
        cpu_before, redis_before = cpu_s(running.pids()), made.redis_bytes()
        most = _go_through(running, made, jobs, port)
        yield f"{kind}: {jobs} jobs, {(cpu_s(running.pids()) - cpu_before) * 1000 / jobs:.1f} ms of CPU each"
        for pool, held in most.items():
            yield (
                f"  {pool}: {held.processes} processes, {held.rss_mb:.0f} MB, "
                f"{held.redis} connections to Redis, {held.database} to the database"
            )
        added = {name: (count - rows_before[name]) / jobs for name, count in rows(running.ledger).items()}
        yield "  rows a job: " + ", ".join(f"{name} {count:.1f}" for name, count in added.items() if count)
        yield f"  bytes a job in the ledger: {(stored_bytes(running.ledger, kind) - bytes_before) / jobs:,.0f}"
        yield f"  bytes a job in Redis, once completed: {(made.redis_bytes() - redis_before) / jobs:,.0f}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.footprint", description="What a job leaves behind.")
    parser.add_argument("--jobs", type=int, default=1000)
    asked = parser.parse_args()
    configure_logs("ERROR", "console")
    folder = Path(tempfile.mkdtemp(prefix="reelworks-footprint-"))
    try:
        with interruptible():
            for kind in _BYTES:
                for line in measure(kind, asked.jobs, folder / kind):
                    sys.stdout.write(f"{line}\n")
                    sys.stdout.flush()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
