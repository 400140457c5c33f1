"""Opens the database and hands out transactions. Owns the engine's settings for SQLite and PostgreSQL, and the clock.

Instants come from the database server, so that workers whose clocks differ agree on leases; SQLite, which lives on one
machine, uses that machine's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from tasks.domain.prices import Charged
from tasks.failpoints import failpoint

_SQLITE_BUSY_TIMEOUT_MS = 30_000
_READ_ONLY = "reelworks_read_only"
# A server that vanished without a word, or a lock that nobody gives back, must not hold a worker for good.
_POSTGRES_CONNECTION: Final[Mapping[str, Any]] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "options": " ".join(
        (
            "-c statement_timeout=60s -c lock_timeout=30s",
            # What holds for the server holds for workers too: one that stands still, or that the network has swallowed,
            # in the middle of a transaction keeps its locks from the others no longer than this.
            "-c idle_in_transaction_session_timeout=20s",
            "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
        )
    ),
}


LedgerError = sa.exc.SQLAlchemyError
"""The database could not be asked, or refused. Nothing of the transaction stands."""
LedgerConflict = sa.exc.IntegrityError
"""What was to be written contradicts what stands there. Writing it again will not help."""


def url_problem(url: str | sa.URL) -> str | None:
    """What is wrong with a database URL, in a sentence that does not show it (it may hold a password)."""
    try:
        backend = sa.make_url(url).get_backend_name()
    except sa.exc.ArgumentError:
        return "is not a database URL; use sqlite:////path or postgresql+psycopg://host/name"
    if backend not in ("sqlite", "postgresql"):
        return f"{backend} is not supported; use sqlite:////path or postgresql+psycopg://host/name"
    return None


class Transaction:
    """One open transaction. `now` is the server's clock, read once and then the same for the whole transaction."""

    def __init__(self, connection: sa.Connection, clock: Callable[[], datetime]) -> None:
        self.connection = connection
        self._clock = clock
        self.charged: list[Charged] = []
        """What this transaction has charged so far."""

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.connection.dialect.name

    @cached_property
    def now(self) -> datetime:
        """The server's clock as it was when this transaction first asked: aware, UTC."""
        if self.dialect == "postgresql":
            now: datetime = self.connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
            return now.astimezone(UTC)
        return self._clock()

    def execute(
        self, statement: sa.Executable, rows: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None
    ) -> sa.CursorResult[Any]:
        """`rows`: the values of the statement's parameters; of several rows, those of each."""
        result: sa.CursorResult[Any] = self.connection.execute(statement, rows)
        return result

    def take_turns(self, name: str) -> None:
        """Wait until no other transaction that took turns under this name is open. SQLite has one writer anyway."""
        if self.dialect == "postgresql":
            self.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(name))))

    def insert_new(self, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
        """An INSERT that leaves rows alone which are already there, whichever unique constraint says so."""
        return _insert_new(self.dialect, table)

    def put(self, table: sa.Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Write these values into the row of this primary key, which is made where there is none."""
        self.execute(_put(self.dialect, table, tuple(key), tuple(values)), {**key, **values})


@cache
def _insert_new(dialect: str, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(table).on_conflict_do_nothing()


@cache
def _put(dialect: str, table: sa.Table, key: tuple[str, ...], columns: tuple[str, ...]) -> sa.Executable:
    insert = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table)
    return insert.on_conflict_do_update(index_elements=key, set_={name: insert.excluded[name] for name in columns})


class Ledger:
    """The database. One object a process, made after the fork.

    `url` is an SQLAlchemy URL (`sqlite:////abs/path.db`, `postgresql+psycopg://...`). `clock` gives aware UTC instants
    and is used on SQLite only.
    """

    def __init__(self, url: str | sa.URL, *, pool_size: int = 10, clock: Callable[[], datetime] | None = None) -> None:
        self._clock = clock or (lambda: datetime.now(UTC))
        self.engine = _engine(url, pool_size)
        self.on_charged: Callable[[Sequence[Charged]], None] = lambda _charged: None
        """Told of what a transaction has charged, once it is committed."""

    @contextmanager
    def begin(self, name: str = "other") -> Iterator[Transaction]:
        """A transaction that may write; committed when the block ends, rolled back when it raises.

        `name` says which step of a job's way it is; see `tasks.failpoints`.
        """
        with self.engine.begin() as connection:
            tx = Transaction(connection, self._clock)
            yield tx
            failpoint(f"{name}.before_commit")
        if tx.charged:
            self.on_charged(tx.charged)
        failpoint(f"{name}.after_commit")

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A transaction that only reads: on SQLite it waits for no writer."""
        # One moment for all queries of the block, as SQLite has it anyway: PostgreSQL's default is one moment a query.
        options: dict[str, Any] = {_READ_ONLY: True}
        if self.engine.dialect.name == "postgresql":
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield Transaction(connection, self._clock)

    def server_clock(self) -> datetime | None:
        """What time the database's server has; None for SQLite, whose clock is this machine's. Raises `LedgerError`."""
        if self.engine.dialect.name != "postgresql":
            return None
        with self.read() as tx:
            found: datetime = tx.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return found

    def close(self) -> None:
        """Close all connections; the object may not be used any more."""
        self.engine.dispose()


def _engine(url: str | sa.URL, pool_size: int) -> sa.Engine:
    problem = url_problem(url)
    if problem is not None:
        raise ValueError(f"the database URL {problem}")
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        engine = sa.create_engine(
            parsed,
            hide_parameters=True,  # they hold prompts and signed URLs, and errors are logged
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
            pool_timeout=30,
            connect_args=_POSTGRES_CONNECTION,
        )
        sa.event.listen(engine, "handle_error", _without_detail)
        sa.event.listen(engine, "checkin", _leave_read_only_to_the_server)
        return engine
    engine = sa.create_engine(
        parsed,
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=pool_size,
        connect_args={"timeout": _SQLITE_BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
    )
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _without_detail(context: sa.engine.ExceptionContext) -> None:
    # PostgreSQL's DETAIL line quotes the row, prompt included; the sentence before it says what was wrong.
    original, wrapped = context.original_exception, context.sqlalchemy_exception
    if isinstance(original, psycopg.Error) and original.diag.message_detail and wrapped is not None:
        whole = str(original)
        sentence = original.diag.message_primary or type(original).__name__
        original.args = (sentence,)
        wrapped.args = tuple(str(arg).replace(whole, sentence) for arg in wrapped.args)


def _leave_read_only_to_the_server(connection: object, _record: ConnectionPoolEntry) -> None:
    # A connection that has read would begin with READ WRITE from then on: over the head of whoever has made the server
    # read-only, be it for want of space.
    if isinstance(connection, psycopg.Connection) and not connection.closed:
        connection.read_only = None


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # The driver's own transaction handling would start transactions late and as readers; `_begin_sqlite` starts them.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_SQLITE_BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    # FULL, not NORMAL: an attempt that is committed must survive a power cut, or a generation could be paid for twice.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # IMMEDIATE takes the write lock at once and waits for it; a reader that turns writer later would fail instead.
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
